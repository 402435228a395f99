package target

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// files makes files, with their directories, below a fake process's root.
func files(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	for name, text := range content {
		name = filepath.Join(dir, "files", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPaths(t *testing.T) {
	fs := procfs(t.TempDir())
	dir := fake(t, fs, 7, 1, "/opt/py/bin/python3.11", "/srv/shop",
		[]string{"venv/bin/python", "venv/bin/gunicorn", "--pythonpath", "plugins", "shop:app"},
		[]string{"PYTHONPATH=/srv/shared:lib", "HOME=/home/shop", "PWD=/srv/current"})
	files(t, dir, map[string]string{
		"/opt/py/lib/python3.11/os.py":                                         "",
		"/opt/py/lib/python3.11/site-packages/README":                          "",
		"/opt/py/lib/python311.zip":                                            "",
		"/srv/shop/venv/pyvenv.cfg":                                            "home = /opt/py/bin\n",
		"/srv/shop/venv/lib/python3.11/site-packages/__editable__.x.pth":       "# no\nimport os\n/srv/till/src\n/nowhere\nrelative\n",
		"/srv/till/src/till/__init__.py":                                       "",
		"/srv/shop/venv/lib/python3.11/site-packages/__editable___y_finder.py": "import sys\nMAPPING: dict[str, str] = {'acme.tools': '/srv/acme/acme/tools', 'z': '/nowhere/z'}\n",
		"/srv/acme/acme/tools/a.py":                                            "",
		"/srv/shop/deps/flask/__init__.py":                                     "",
		"/srv/shop/deps/own/__init__.py":                                       "",
		"/srv/shop/deps/flask-3.0.dist-info/RECORD":                            "../../bin/flask,,\nflask/__init__.py,sha256=x,9\nsix.py,,\n",
		"/mnt/found/top/__init__.py":                                           "",
		"/mnt/found/top/sub/__init__.py":                                       "",
		"/home/shop/.local/lib/python3.11/site-packages/README":                "",
	})
	if err := os.Symlink("shop", filepath.Join(dir, "files/srv/current")); err != nil {
		t.Fatal(err)
	}
	p, env := identified(t, fs, 7)
	p.Python = &Python{Major: 3, Minor: 11, Image: "/opt/py/bin/python3.11"}
	paths := p.findPaths(env)
	for _, test := range []struct {
		file, short string
		app         bool
	}{
		{"/srv/shop/shop/cart.py", "shop/cart.py", true},
		{"shop/cart.py", "shop/cart.py", true},
		{"./cart.py", "cart.py", true},
		{"/srv/current/till/cart.py", "till/cart.py", true},
		{"/srv/current/venv/bin/gunicorn", "gunicorn", false},
		{"/srv/shop/lib/helper.py", "helper.py", true},
		{"/srv/shop/plugins/x/y.py", "x/y.py", true},
		{"/srv/lib/app/main.py", "/srv/lib/app/main.py", true},
		{"/srv/shared/a/b.py", "a/b.py", true},
		{"/srv/till/src/till/__init__.py", "till/__init__.py", true},
		{"/srv/acme/acme/tools/a.py", "acme/tools/a.py", true},
		{"/mnt/found/top/sub/x.py", "top/sub/x.py", true},
		{"/srv/shop/deps/flask/app.py", "flask/app.py", false},
		{"/srv/shop/deps/six.py", "six.py", false},
		{"/srv/shop/deps/own/app.py", "deps/own/app.py", true},
		{"/mnt/found/alone.py", "/mnt/found/alone.py", true},
		{"/mnt/mods.zip/top/x.py", "top/x.py", true},
		{"/srv/shop/app.pyz/__main__.py", "__main__.py", true},
		{"/home/shop/.pex/installed_wheels/0/flask-3.0-py3-none-any.whl/flask/app.py", "flask/app.py", false},
		{"/srv/shopping/cart.py", "/srv/shopping/cart.py", true},
		{"/opt/py/lib/python3.11/os.py", "os.py", false},
		{"/opt/py/lib/python3.11/json/decoder.py", "json/decoder.py", false},
		{"/opt/py/lib/python311.zip/json/decoder.py", "json/decoder.py", false},
		{"/opt/py/lib/python3.11/site-packages/flask/app.py", "flask/app.py", false},
		{"/srv/shop/venv/lib/python3.11/site-packages/flask/app.py", "flask/app.py", false},
		{"/srv/shop/.other/lib/python3.9/site-packages/flask/app.py", "flask/app.py", false},
		{"/usr/lib/python3/dist-packages/flask/app.py", "flask/app.py", false},
		{"/home/shop/.local/lib/python3.11/site-packages/x.py", "x.py", false},
		{"/srv/shop/venv/bin/gunicorn", "gunicorn", false},
		{"/opt/py/bin/gunicorn", "gunicorn", false},
		{"/srv/shop/bin/serve", "bin/serve", true},
		{"/srv/shop/bin/serve.py", "bin/serve.py", true},
		{"<string>", "<string>", true},
		{"<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>", false},
		{"<__array_function__ internals>", "<__array_function__ internals>", false},
		{"", "", false},
		{"/", "/", true},
	} {
		if got := paths.Short(test.file); got != test.short {
			t.Errorf("Short(%q) = %q, want %q", test.file, got, test.short)
		}
		if got := paths.IsApp(test.file); got != test.app {
			t.Errorf("IsApp(%q) = %v, want %v", test.file, got, test.app)
		}
	}
	if paths.Dir != "/srv/shop" || !slices.Equal(paths.Same, []string{"/srv/current"}) || len(paths.Lib) != 3 || len(paths.Site) != 3 {
		t.Errorf("facts: %+v", paths)
	}
}

// TestPathsOfBundle has a program of PyInstaller, with its library and modules beside it and no standard library.
func TestPathsOfBundle(t *testing.T) {
	fs := procfs(t.TempDir())
	dir := fake(t, fs, 7, 1, "/opt/shop/shop", "/srv", []string{"./shop"}, []string{"PYTHONPATH=own"})
	files(t, dir, map[string]string{
		"/opt/shop/_internal/base_library.zip":             "",
		"/opt/shop/_internal/flask-3.0.dist-info/RECORD":   "flask/__init__.py,sha256=x,9\n",
		"/opt/shop/_internal/libpython3.11.so.1.0/ignored": "",
	})
	p, env := identified(t, fs, 7)
	p.Python = &Python{Major: 3, Minor: 11, Image: "/opt/shop/_internal/libpython3.11.so.1.0"}
	paths := p.findPaths(env)
	for file, app := range map[string]bool{
		"shop.py": true, "cart/till.py": true, "json/__init__.py": false, "socketserver.py": false, "flask/app.py": false, "jsons/a.py": true,
	} {
		if paths.IsApp(file) != app || paths.Short(file) != file {
			t.Errorf("%s: app %v, short %s", file, paths.IsApp(file), paths.Short(file))
		}
	}
}

// TestPathsOfFrozen has a program of cx_Freeze, in whose executable the interpreter is.
func TestPathsOfFrozen(t *testing.T) {
	fs := procfs(t.TempDir())
	dir := fake(t, fs, 7, 1, "/opt/shop/shop", "/srv", []string{"./shop"}, nil)
	files(t, dir, map[string]string{"/opt/shop/lib/library.zip": "", "/opt/shop/lib/flask-3.0.dist-info/RECORD": "flask/__init__.py,sha256=x,9\n"})
	p, env := identified(t, fs, 7)
	p.Python = &Python{Major: 3, Minor: 11, Image: "/opt/shop/shop"}
	paths := p.findPaths(env)
	for file, app := range map[string]bool{"shop.py": true, "threading.py": false, "asyncio/events.py": false, "flask/app.py": false} {
		if paths.IsApp(file) != app || paths.Short(file) != file {
			t.Errorf("%s: app %v, short %s", file, paths.IsApp(file), paths.Short(file))
		}
	}
}

// Where the standard library was not found, or another was, the shape of its path stands in.
func TestPathsWithoutLib(t *testing.T) {
	p := &Paths{Dir: "/srv", Lib: []string{"/opt/py/lib/python3.11"}, search: []string{"/srv/lib/python3.11/own"}}
	for file, want := range map[string]struct {
		short string
		app   bool
	}{
		"/usr/lib/python3.11/os.py":                {"os.py", false},
		"/usr/lib64/python3.9/asyncio/events.py":   {"asyncio/events.py", false},
		"/usr/lib/python311.zip/os.py":             {"os.py", false},
		"/srv/py/lib/python3.11/asyncio/events.py": {"asyncio/events.py", false},
		"/srv/lib/python3.11/site-packages/a/b.py": {"a/b.py", false},
		"/srv/lib/python3.11/own/cart.py":          {"cart.py", true},
		"/srv/lib/app/main.py":                     {"lib/app/main.py", true},
	} {
		if short, app := p.Short(file), p.IsApp(file); short != want.short || app != want.app {
			t.Errorf("%s: %s, application's own %v; want %s, %v", file, short, app, want.short, want.app)
		}
	}
}

// A target's links must not lead the agent out of the target's root.
func TestOpenStaysInRoot(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := procfs(t.TempDir())
	dir := fake(t, fs, 7, 1, "/x", "/", nil, nil)
	files(t, dir, map[string]string{"/there": "text"})
	for name, to := range map[string]string{"absolute": outside, "relative": "../../../../../../../.." + outside, "good": "/there"} {
		if err := os.Symlink(to, filepath.Join(dir, "files", name)); err != nil {
			t.Fatal(err)
		}
	}
	p := &Process{PID: 7, fs: fs}
	for _, name := range []string{"/absolute", "/relative", outside, "/../../.." + outside, "/"} {
		if f, err := p.Open(name); err == nil {
			f.Close()
			t.Errorf("Open(%q) succeeds", name)
		}
	}
	f, err := p.Open("/good")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
