package target

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	const python = "/usr/bin/python3.11"
	for _, test := range []struct{ exe, cmdline, environ, want string }{
		{python, "python3 app.py", "", "app.py"},
		{python, "python3 -u /srv/shop/app.py --port 8000", "", "app.py"},
		{python, "python3 -X dev -W ignore -bb app.py", "", "app.py"},
		{python, "python3 -Xdev -Wignore -OO app.py", "", "app.py"},
		{python, "python3 --check-hash-based-pycs never app.py", "", "app.py"},
		{python, "python3 /srv/shop/", "", "shop"},
		{python, "python3 -m http.server 8000", "", "http.server"},
		{python, "python3 -mhttp.server", "", "http.server"},
		{python, "python3 -Im shop.web", "", "shop.web"},
		{python, "python3 /root/.pex/unzipped_pexes/4/874b471419e6afe0801a957d734b07358eb282f6 8000", "PEX=/srv/shop.pex", "shop.pex"},
		{python, "python3 -I /root/.pex/venvs/4/874b471419e6afe0801a957d734b07358eb282f6/874b471419e6afe0801a957d734b07358eb282f6/pex", "PEX=/srv/shop.pex", "shop.pex"},
		{python, "python3 /srv/app.py", "PEX=/srv/shop.pex", "app.py"},
		{python, "python3", "", "python3.11"},
		{python, "python3 -", "", "python3.11"},
		{python, "python3 -c pass a:b", "", "python3.11"},
		{python, "python3 app.py", "OTEL_SERVICE_NAME=checkout", "checkout"},
		{python, "python3 app.py", "OTEL_SERVICE_NAME=", "app.py"},
		{python, "python3 app.py", "OTEL_SERVICE_NAME=first OTEL_SERVICE_NAME=second", "first"},
		{python, "python3 app.py shop:app", "", "app.py"},
		{python, "/v/bin/python /v/bin/gunicorn shop:app", "", "shop:app"},
		{python, "/v/bin/python /v/bin/gunicorn -w 4 -k uvicorn.workers.UvicornWorker pkg.shop:create_app()", "", "pkg.shop:create_app()"},
		{python, "/v/bin/python /v/bin/gunicorn -b unix:sock -w4 shop.wsgi", "", "shop.wsgi"},
		{python, "/v/bin/python /v/bin/gunicorn --preload shop.wsgi --bind 127.0.0.1:8000", "", "shop.wsgi"},
		{python, "/v/bin/python /v/bin/gunicorn --name=cart shop:app", "", "cart"},
		{python, "/v/bin/python /v/bin/gunicorn --name cart shop:app", "", "cart"},
		{python, "/v/bin/python /v/bin/gunicorn shop:app -n cart", "", "cart"},
		{python, "/v/bin/python /v/bin/gunicorn shop:app -ncart", "", "cart"},
		{python, "/v/bin/python -m gunicorn -n cart shop:app", "", "cart"},
		{python, "/v/bin/python /v/bin/gunicorn shop:app", "GUNICORN_CMD_ARGS=--name=cart", "cart"},
		{python, "/v/bin/python /v/bin/gunicorn shop:app -n till", "GUNICORN_CMD_ARGS=--name=cart", "till"},
		{python, "gunicorn:_master_[shop]", "", "shop"},
		{python, "gunicorn:_worker_[pkg.shop:app]", "", "pkg.shop:app"},
		{python, "/v/bin/python /v/bin/uvicorn --host 0.0.0.0 --port 80 shop:app --reload", "", "shop:app"},
		{python, "/v/bin/python /v/bin/uvicorn --factory shop.main:make", "", "shop.main:make"},
		{python, "/v/bin/python -m uvicorn shop:app", "", "shop:app"},
		{python, "/v/bin/python /v/bin/hypercorn -b localhost:8000 shop:app", "", "shop:app"},
		{python, "/v/bin/python /v/bin/waitress-serve --listen=*:8080 shop:app", "", "shop:app"},
		{python, "/v/bin/python /v/bin/flask --app=shop:app run", "", "shop:app"},
		{python, "/v/bin/python /v/bin/daphne -e ssl:443 shop.asgi:application", "", "shop.asgi:application"},
		{python, "/v/bin/python /v/bin/uvicorn магазин:app", "", "магазин:app"},
		{"/usr/bin/uwsgi", "uwsgi --http-socket :8000 --module shop:app", "", "shop:app"},
		{"/usr/bin/uwsgi", "uwsgi shop.ini", "", "uwsgi"},
	} {
		fs := procfs(t.TempDir())
		cmdline := strings.Fields(test.cmdline)
		for i := range cmdline {
			cmdline[i] = strings.ReplaceAll(cmdline[i], "_", " ")
		}
		if !strings.HasPrefix(test.cmdline, "gunicorn:") {
			cmdline = strings.Fields(test.cmdline)
		}
		fake(t, fs, 7, 1, test.exe, "/srv", cmdline, strings.Fields(test.environ))
		p, env := identified(t, fs, 7)
		if got := p.serviceName(env); got != test.want {
			t.Errorf("%s %s: name %q, want %q", test.environ, test.cmdline, got, test.want)
		}
	}
}

// The workers of uvicorn and hypercorn run multiprocessing's code: their name is their master's.
func TestNameOfSpawned(t *testing.T) {
	fs := procfs(t.TempDir())
	const python = "/usr/bin/python3.11"
	spawn := []string{"python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(5)", "--multiprocessing-fork"}
	fake(t, fs, 5, 1, python, "/srv", []string{"python", "/v/bin/uvicorn", "--workers", "2", "shop:app"}, nil)
	fake(t, fs, 6, 5, python, "/srv", spawn, nil)
	fake(t, fs, 7, 6, python, "/srv", spawn, nil)
	fake(t, fs, 8, 8, python, "/srv", spawn, nil) // a hostile /proc must not hold us
	for pid, want := range map[int]string{5: "shop:app", 6: "shop:app", 7: "shop:app", 8: "python3.11"} {
		p, env := identified(t, fs, pid)
		if got := p.serviceName(env); got != want {
			t.Errorf("process %d: name %q, want %q", pid, got, want)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("python\x00-m\x00gunicorn\x00-n", "/usr/bin/python3")
	f.Add("gunicorn: master [", "/usr/bin/python3")
	f.Add("a\x00--x=y:z", "/usr/bin/uwsgi")
	f.Fuzz(func(t *testing.T, cmdline, exe string) {
		nameByArguments(strings.Split(cmdline, "\x00"), exe, map[string]string{"GUNICORN_CMD_ARGS": cmdline})
	})
}
