package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// apacheConfig serves testdata/apache.wsgi from interpreters embedded in Apache's workers.
const apacheConfig = `
ServerRoot %[1]s
ServerName test
PidFile %[1]s/apache.pid
ErrorLog /dev/stderr
Listen %[2]s
LoadModule mpm_%[3]s_module %[4]s/mod_mpm_%[3]s.so
LoadModule authz_core_module %[4]s/mod_authz_core.so
LoadModule wsgi_module %[4]s/mod_wsgi.so
User nobody
Group nogroup
StartServers 1
ServerLimit 1
<IfModule mpm_prefork_module>
MinSpareServers 1
MaxSpareServers 1
MaxRequestWorkers 1
</IfModule>
<IfModule mpm_event_module>
ThreadsPerChild 4
MinSpareThreads 1
MaxSpareThreads 4
MaxRequestWorkers 4
</IfModule>
WSGIScriptAlias / %[5]s
<Directory />
Require all granted
</Directory>
`

// TestModWSGI has requests served by interpreters inside Apache: libpython is mapped by all its processes, the master has
// no interpreter, and applications run in sub-interpreters.
func TestModWSGI(t *testing.T) {
	if os.Getenv("APM_EBPF_SERVERS") == "" {
		t.Skip("tried on demand, as most servers are: make test-servers")
	}
	const modules = "/usr/lib/apache2/modules"
	apache, err := exec.LookPath("/usr/sbin/apache2")
	if err != nil {
		t.Skip("no Apache here: install libapache2-mod-wsgi-py3")
	}
	if _, err := os.Stat(filepath.Join(modules, "mod_wsgi.so")); err != nil {
		t.Skip("no mod_wsgi here: install libapache2-mod-wsgi-py3")
	}
	prepared(t)
	for _, mpm := range []string{"prefork", "event"} {
		t.Run(mpm, func(t *testing.T) {
			dir := readable(t)
			script := filepath.Join(dir, "apache.wsgi")
			text, err := os.ReadFile("testdata/apache.wsgi")
			if err == nil {
				err = os.WriteFile(script, text, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			address := "127.0.0.1:" + freePort(t)
			config := filepath.Join(dir, "apache.conf")
			if err := os.WriteFile(config, fmt.Appendf(nil, apacheConfig, dir, address, mpm, modules, script), 0o644); err != nil {
				t.Fatal(err)
			}
			s := &Service{Process: startProcess(t, exec.Command(apache, "-f", config, "-DFOREGROUND")), Address: address}
			s.PID = s.Process.Process.Pid
			s.Log.wait(t, `(resuming) normal operations`, 1)
			a := attach(t, s.PID)
			a.Log.wait(t, `"message":"profiling process"`, 1)
			for range 4 { // the first may be answered by a worker whose interpreter has only just been started
				if answer := s.get(t, "/"); answer.Text != "done" {
					t.Fatal(answer.Status, answer.Text)
				}
			}
			for _, r := range a.exactly(t, 4)[1:] {
				checkSums(t, r)
				wait := r.tree(t).find("wait")
				if wait == nil || wait.File != script || !wait.App || wait.Time < 0.02 {
					t.Errorf("its wait of at least 0.02 s is told as %+v:\n%s", wait, r.tree(t))
				}
				if !strings.HasPrefix(r.Request.Runtime, "cpython 3.") {
					t.Errorf("runtime %q", r.Request.Runtime)
				}
			}
		})
	}
}

// readable makes a directory that other users can read.
func readable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "apm-ebpf-e2e")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
