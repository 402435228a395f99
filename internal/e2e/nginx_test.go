package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// behindNginx are servers that nginx stands in front of, and how it passes requests on. SOCKET is a Unix socket.
var behindNginx = []struct {
	server
	pass string
}{
	{server{
		name: "uWSGI", pip: "uwsgi", paths: "/work",
		args: "BIN/uwsgi --socket 127.0.0.1:PORT " + uwsgiApp,
	}, "uwsgi_pass 127.0.0.1:PORT;"},
	{server{
		name: "uWSGI on a Unix socket", pip: "uwsgi", paths: "/work",
		args: "BIN/uwsgi --socket SOCKET --chmod-socket=666 " + uwsgiApp,
	}, "uwsgi_pass unix:SOCKET;"},
	{server{
		name: "gunicorn", pip: "gunicorn", paths: "/work",
		args: "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 32 wsgi:app",
	}, "proxy_pass http://service;"},
	{server{
		name: "uvicorn on a Unix socket", pip: "uvicorn h11", paths: "/await /gather",
		args: "BIN/uvicorn --uds SOCKET --loop asyncio --http h11 --log-level warning asgi:app",
	}, "proxy_pass http://unix:SOCKET;"},
}

// uwsgiApp are uWSGI's options for the application of testdata/servers.
const uwsgiApp = "--wsgi-file wsgi.py --callable app --enable-threads --threads 8 --disable-logging --need-app --die-on-term --virtualenv VENV"

const nginxConfig = `
daemon off; master_process off; pid DIR/pid; error_log stderr emerg; user root;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; uwsgi_temp_path DIR/uwsgi;
	fastcgi_temp_path DIR/fastcgi; scgi_temp_path DIR/scgi;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	upstream service { server 127.0.0.1:BACK; keepalive 8; }
	uwsgi_param QUERY_STRING $query_string; uwsgi_param REQUEST_METHOD $request_method;
	uwsgi_param CONTENT_TYPE $content_type; uwsgi_param CONTENT_LENGTH $content_length;
	uwsgi_param REQUEST_URI $request_uri; uwsgi_param PATH_INFO $document_uri;
	uwsgi_param SERVER_PROTOCOL $server_protocol; uwsgi_param REMOTE_ADDR $remote_addr;
	uwsgi_param REMOTE_PORT $remote_port; uwsgi_param SERVER_PORT $server_port; uwsgi_param SERVER_NAME $server_name;
	server { listen 127.0.0.1:FRONT; location / { PASS } }
}`

// TestBehindNginx has servers answer many requests that nginx passes on, in HTTP and in uWSGI's own protocol.
func TestBehindNginx(t *testing.T) {
	prepared(t)
	nginx := debian(t, "usr/sbin/nginx", "nginx")
	for _, v := range behindNginx {
		t.Run(v.name, func(t *testing.T) {
			python := venv(t, v.interpreter(t))
			install(t, python, v.pip)
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			front := freePort(t)
			back := freePort(t)
			words := strings.NewReplacer("SOCKET", filepath.Join(dir, "socket"), "PORT", back)
			s := v.run(t, python, words)
			text := strings.NewReplacer("PASS", words.Replace(v.pass), "FRONT", front, "BACK", back, "DIR", dir).Replace(nginxConfig)
			config := filepath.Join(dir, "nginx.conf")
			if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			startProcess(t, exec.Command(nginx, "-c", config, "-e", "stderr"))
			s.Address = "127.0.0.1:" + front
			eventually(t, "nginx to pass requests on", func() bool {
				r, err := http.Get("http://" + s.Address)
				if err == nil {
					r.Body.Close()
				}
				return err == nil && r.StatusCode == http.StatusOK
			})
			a := attach(t, s.PID, "-F", "1000")
			for _, path := range strings.Fields(v.paths) {
				t.Run(path, func(t *testing.T) { v.check(t, s, a, path) })
			}
			for _, r := range a.seen {
				if strings.HasPrefix(v.pass, "uwsgi_pass") && !strings.HasPrefix(r.Request.Client, "127.0.0.1:") {
					t.Errorf("%s: from %q, not from the client of nginx", r, r.Request.Client)
				}
			}
		})
	}
}

// debian gives the path of a file of a Debian package: of the system, or of the package unpacked into the user's cache.
// It skips the test where there is neither.
func debian(t *testing.T, file, name string) string {
	t.Helper()
	if path := filepath.Join("/", file); exists(path) {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "apm-ebpf", "debian", name)
	if path := filepath.Join(dir, file); exists(path) {
		return path
	}
	fresh := t.TempDir()
	script := fmt.Sprintf("cd %q && apt-get -q download %s && for p in *.deb; do dpkg-deb -x $p . || exit; done && rm *.deb", fresh, name)
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Skipf("no %s here: %v\n%s", file, err, out)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", fresh, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, file)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
