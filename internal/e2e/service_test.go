package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// Service is a running server. Its program's log tells the address and the workers.
type Service struct {
	*Process
	Address string // host:port
	PID     int
	python  Python
	tls     bool
}

// gunicorn starts an application of testdata, the attribute app of a module.
func gunicorn(t testing.TB, python Python, module string, flags ...string) *Service {
	t.Helper()
	args := append([]string{"-m", "gunicorn", "-b", "127.0.0.1:0", "--graceful-timeout", "1", module + ":app"}, flags...)
	s := startService(t, python, args...)
	s.Address = s.Log.wait(t, `Listening at: https?://(\S+)`, 1)[0]
	s.workers(t, 1)
	return s
}

// gunicornTLS does so with HTTPS.
func gunicornTLS(t testing.TB, module string, flags ...string) *Service {
	t.Helper()
	cert, key := certificate(t)
	s := gunicorn(t, anyPython(t), module, append(flags, "--certfile", cert, "--keyfile", key)...)
	s.tls = true
	return s
}

// startService runs Python in testdata.
func startService(t testing.TB, python Python, args ...string) *Service {
	t.Helper()
	command := exec.Command(python.Path, args...)
	command.Dir = testdata(t)
	command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1")
	s := &Service{Process: startProcess(t, command), python: python}
	s.PID = s.Process.Process.Pid
	return s
}

func testdata(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// workers waits until gunicorn has started n workers and returns their process ids, those that have ended included.
func (s *Service) workers(t testing.TB, n int) []int {
	t.Helper()
	var pids []int
	for _, text := range s.Log.wait(t, `Booting worker with pid: (\d+)`, n) {
		pid, _ := strconv.Atoi(text)
		pids = append(pids, pid)
	}
	return pids
}
