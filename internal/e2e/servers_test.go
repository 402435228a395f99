package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// server is a way to serve an application of testdata/servers.
type server struct {
	name   string
	pip    string // what it needs, for pip
	older  string // releases of packages that it is to have instead of the newest, for pip
	args   string // after the interpreter, or BIN/PROGRAM of its environment; PORT is the port to listen on
	paths  string // requests: a kind of work.py each, below a prefix; with ~ the branches may be missing, with ? untold
	minor  int    // oldest Python 3 on which it runs
	newest int    // newest one on which it is to, 0: any
	closes bool   // it closes connections without saying so
	often  bool   // it is tried by every run of the tests
	tls    bool   // CERT and KEY are files to serve HTTPS with
}

// interpreter gives the python3 on the PATH if it is of the right age, else one of pyenv's.
func (v *server) interpreter(t *testing.T) string {
	t.Helper()
	root := os.Getenv("PYENV_ROOT")
	if home, err := os.UserHomeDir(); root == "" && err == nil {
		root = filepath.Join(home, ".pyenv")
	}
	found, _ := filepath.Glob(filepath.Join(root, "versions", "3.*", "bin", "python3"))
	newest := v.newest
	if newest == 0 {
		newest = 99
	}
	fits := fmt.Sprintf("import sys; sys.exit(not %d <= sys.version_info[1] <= %d)", v.minor, newest)
	for _, path := range append([]string{"python3"}, found...) {
		if exec.Command(path, "-c", fits).Run() == nil {
			return path
		}
	}
	t.Skipf("no Python from 3.%d to 3.%d here", v.minor, newest)
	return ""
}

// venv makes an environment for the servers, unless it is there, and adds what is missing.
func venv(t *testing.T, interpreter string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command(interpreter, "-c", "import platform; print(platform.python_version())").Output()
	if err != nil {
		t.Fatalf("ask %s for its version: %v", interpreter, err)
	}
	dir := filepath.Join(cache, "apm-ebpf", "servers", strings.TrimSpace(string(version)))
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(python); errors.Is(err, os.ErrNotExist) {
		if out, err := exec.Command(interpreter, "-m", "venv", dir).CombinedOutput(); err != nil {
			t.Fatalf("make an environment: %v\n%s", err, out)
		}
	}
	return python
}

// install skips the test where packages cannot be had.
func install(t *testing.T, python, packages string) {
	t.Helper()
	mark := filepath.Join(filepath.Dir(python), "installed "+strings.ReplaceAll(packages, "/", "-"))
	if _, err := os.Stat(mark); err == nil || packages == "" {
		return
	}
	args := append([]string{"-m", "pip", "install", "-q", "--disable-pip-version-check"}, strings.Fields(packages)...)
	if out, err := exec.Command(python, args...).CombinedOutput(); err != nil {
		if os.Getenv("APM_EBPF_REQUIRE_SERVERS") == "1" {
			t.Fatalf("install %s: %v\n%s", packages, err, out)
		}
		t.Skipf("%s cannot be installed here: %v", packages, err)
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// older gives a directory with older releases of packages, to be looked in first.
func older(t *testing.T, python, releases string) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(filepath.Dir(python)), "older", strings.ReplaceAll(releases, " ", "+"))
	install(t, python, "--no-deps --target "+dir+" "+releases)
	return dir
}

// start runs the server and waits until it answers.
func (v *server) start(t *testing.T, python string) *Service {
	t.Helper()
	port := freePort(t)
	words := []string{"PORT", port}
	if v.tls {
		cert, key := certificate(t)
		words = append(words, "CERT", cert, "KEY", key)
	}
	s := v.run(t, python, strings.NewReplacer(words...))
	s.Address = "127.0.0.1:" + port
	eventually(t, v.name+" to listen", func() bool {
		if !s.running() {
			t.Fatalf("%s has ended", v.name)
		}
		c, err := net.Dial("tcp", s.Address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	s.get(t, "/")
	return s
}

// run starts the server's program with the words that stand for something filled in.
func (v *server) run(t *testing.T, python string, words *strings.Replacer) *Service {
	t.Helper()
	args := strings.Fields(words.Replace(strings.ReplaceAll(v.args, "VENV", filepath.Dir(filepath.Dir(python)))))
	path := python
	if strings.HasPrefix(args[0], "BIN/") {
		path, args = filepath.Join(filepath.Dir(python), args[0][len("BIN/"):]), args[1:]
	}
	command := exec.Command(path, args...)
	command.Dir = filepath.Join(testdata(t), "servers")
	search := command.Dir
	if v.older != "" {
		search = older(t, python, v.older) + ":" + search
	}
	command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+search, "DJANGO_SETTINGS_MODULE=")
	s := &Service{Process: startProcess(t, command), tls: v.tls}
	s.PID = s.Process.Process.Pid
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// crowd is how many clients ask at once.
const crowd = 24

// asked is a request with the number that the functions called for it have.
type asked struct {
	*Answer
	path string
	k    int
}

// ask has every client ask for its own number: each on a connection for a single request, then on one that is kept.
func (v *server) ask(t *testing.T, s *Service, path string) (all []asked) {
	t.Helper()
	var lock sync.Mutex
	var clients sync.WaitGroup
	for k := range crowd {
		clients.Go(func() {
			target := fmt.Sprintf("%s/%d", path, k)
			answers := []*Answer{s.get(t, target), s.get(t, target)}
			if !v.closes {
				answers = append(answers, keepAsking(t, s, target)...)
			}
			lock.Lock()
			defer lock.Unlock()
			for _, a := range answers {
				all = append(all, asked{a, target, k})
			}
		})
	}
	clients.Wait()
	return all
}

// keepAsking asks twice, on one connection if the server keeps it.
func keepAsking(t *testing.T, s *Service, target string) (answers []*Answer) {
	t.Helper()
	c := s.dial(t)
	defer func() { c.Close() }()
	for len(answers) < 2 {
		a := c.do(t, "GET", target, "", "")
		if answers = append(answers, a); a.Close && len(answers) < 2 {
			c.Close()
			c = s.dial(t)
		}
	}
	return answers
}
