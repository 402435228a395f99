package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// pyenv names the interpreters that a server may run on, where there are several.
func pyenv(t *testing.T, newer bool) string {
	t.Helper()
	return os.Getenv("E2E_PY")
}

var servers = []server{
	{name: "gunicorn sync", pip: "gunicorn", args: "BIN/gunicorn -b 127.0.0.1:PORT wsgi:app", paths: "/work /pool /thread", decided: true},
	{name: "gunicorn gthread", pip: "gunicorn", args: "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 32 wsgi:app", paths: "/work /pool /thread", decided: true},
	{name: "gunicorn gevent", pip: "gunicorn gevent", args: "BIN/gunicorn -b 127.0.0.1:PORT -k gevent wsgi:app", paths: "/work /pool /thread /spawn", decided: true},
	{name: "gunicorn asgi", pip: "gunicorn>=25", args: "BIN/gunicorn -b 127.0.0.1:PORT -k asgi asgi:app", paths: "/await /gather /work /executor /tothread", decided: true},
	{name: "gunicorn uvicorn", pip: "gunicorn uvicorn-worker httptools uvloop", args: "BIN/gunicorn -b 127.0.0.1:PORT -k uvicorn_worker.UvicornWorker asgi:app", paths: "/await /gather /work", decided: true},
	{name: "gevent.pywsgi", pip: "gevent", args: "serve.py gevent_pywsgi PORT", paths: "/work /spawn", decided: true},
	{name: "eventlet.wsgi", pip: "eventlet", args: "serve.py eventlet_wsgi PORT", paths: "/work", decided: true},
	{name: "uvicorn h11", pip: "uvicorn h11", args: "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning asgi:app", paths: "/await /gather /group /created /executor /tothread /work", decided: true},
	{name: "uvicorn httptools", pip: "uvicorn httptools", args: "BIN/uvicorn --port PORT --loop asyncio --http httptools --log-level warning asgi:app", paths: "/await /gather /executor /tothread", decided: true},
	{name: "uvicorn uvloop", pip: "uvicorn uvloop httptools", args: "BIN/uvicorn --port PORT --loop uvloop --http httptools --log-level warning asgi:app", paths: "/await /gather /group /created /executor /tothread /work", decided: true},
	{name: "hypercorn", pip: "hypercorn", args: "BIN/hypercorn -b 127.0.0.1:PORT asgi:app", paths: "/await /gather /tothread", decided: true},
	{name: "hypercorn uvloop", pip: "hypercorn uvloop", args: "BIN/hypercorn -k uvloop -b 127.0.0.1:PORT asgi:app", paths: "/await /gather /tothread", decided: true},
	{name: "daphne", pip: "daphne", args: "BIN/daphne -p PORT asgi:app", paths: "/await /gather /tothread"},
	{name: "aiohttp", pip: "aiohttp", args: "aio.py PORT", paths: "/await /gather /group /tothread /executor", decided: true},
	{name: "aiohttp eager", pip: "aiohttp", args: "aio.py PORT eager", paths: "/await /gather /group /created /tothread", old: 12, decided: true},
	{name: "tornado", pip: "tornado", args: "torn.py PORT", paths: "/await /gather /tothread /executor", decided: true},
	{name: "waitress", pip: "waitress", args: "serve.py waitress PORT", paths: "/work /pool", decided: true},
	{name: "Werkzeug", pip: "werkzeug", args: "serve.py werkzeug PORT", paths: "/work /pool", decided: true},
	{name: "runserver", pip: "django", args: "dj.py runserver --noreload 127.0.0.1:PORT", paths: "/work /pool", decided: true},
	{name: "cheroot", pip: "cheroot", args: "serve.py cheroot PORT", paths: "/work /pool", decided: true},
	{name: "wsgiref", pip: "", args: "serve.py wsgiref PORT", paths: "/work /pool", decided: true},
	{name: "bjoern", pip: "bjoern", args: "serve.py bjoern PORT", paths: "/work"},
	{name: "uWSGI", pip: "uwsgi", args: "BIN/uwsgi --http-socket 127.0.0.1:PORT --wsgi-file wsgi.py --callable app --enable-threads --threads 8 --disable-logging --need-app --die-on-term --virtualenv VENV", paths: "/work"},
	{name: "granian WSGI", pip: "granian", args: "BIN/granian --interface wsgi --port PORT --blocking-threads 8 wsgi:app", paths: "/work"},
	{name: "granian ASGI", pip: "granian", args: "BIN/granian --interface asgi --port PORT asgi:app", paths: "/await /gather /work"},

	{name: "FastAPI", pip: "fastapi uvicorn h11", args: "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning fast:app", paths: "/async/await /async/gather /def/work /def/pool /stream/await /stream-def/work /background/gather /async/tothread /async/executor", decided: true},
	{name: "FastAPI uvloop", pip: "fastapi uvicorn uvloop httptools", args: "BIN/uvicorn --port PORT --loop uvloop --http httptools --log-level warning fast:app", paths: "/async/gather /def/work /stream/await", decided: true},
	{name: "FastAPI middleware", pip: "fastapi uvicorn h11", args: "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning fast:middleware", paths: "/async/await /async/gather /def/work /stream/await /background/gather", decided: true},
	{name: "Django ASGI", pip: "django uvicorn h11", args: "BIN/uvicorn --port PORT --loop asyncio --http h11 --lifespan off --log-level warning dj:asgi", paths: "/work /async/await /async/gather", decided: true},
	{name: "a2wsgi", pip: "a2wsgi uvicorn h11", args: "BIN/uvicorn --port PORT --loop asyncio --http h11 --lifespan off --log-level warning asgi:bridged", paths: "/work", decided: true},
	{name: "Flask async", pip: "flask[async] gunicorn", args: "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 32 wsgi:async_views", paths: "/await /gather /work", decided: true},
}

// TestServers has every server answer many requests at once, each with functions that no other may be seen in.
func TestServers(t *testing.T) {
	prepared(t)
	python := venv(t, "python3")
	for _, v := range servers {
		t.Run(v.name, func(t *testing.T) {
			if v.pip != "" {
				install(t, python, v.pip)
			}
			s := v.start(t, python)
			a := attach(t, s.PID, "-F", "1000")
			for _, path := range strings.Fields(v.paths) {
				t.Run(path, func(t *testing.T) { v.check(t, s, a, path) })
			}
		})
	}
}

func (v *server) check(t *testing.T, s *Service, a *Agent, path string) {
	before := len(a.seen)
	all := ask(t, s, path)
	records := a.await(t, before+len(all))[before:]
	for _, r := range records {
		checkBranchSums(t, r)
	}
	found := byID(t, records)
	var c lanesComparison
	for _, x := range all {
		if r := found[x.ID]; r == nil {
			t.Errorf("no record of %s", x.path)
		} else {
			c.add(t, r, x)
		}
	}
	t.Logf("%d requests, %d undecided, %d foreign, %d without their own, %d of %d times wrong", len(all), c.undecided, c.foreign, c.missing, len(c.wrong), len(c.wrong)+c.right)
	for i, w := range c.wrong {
		if i < 8 {
			t.Log(w)
		}
	}
	if c.undecided > 0 && v.decided || c.foreign > 0 || c.missing > 0 || 30*len(c.wrong) > c.right+len(c.wrong) {
		t.Error("failed")
	}
}

var numbered = regexp.MustCompile(`^[a-z]+_(\d+)$`)

type lanesComparison struct {
	undecided, foreign, missing, right int
	wrong                              []string
}

func (c *lanesComparison) add(t *testing.T, r *Record, x asked) {
	tree := r.tree(t)
	own := 0
	tree.walk(func(f *Frame, _ []*Frame) {
		if m := numbered.FindStringSubmatch(f.name()); m != nil {
			if m[1] == strconv.Itoa(x.k) {
				own++
			} else {
				c.foreign++
				if c.foreign < 3 {
					t.Logf("foreign %s in %s\n%s", f.name(), r, tree)
				}
			}
		}
	})
	if r.incomplete("owner") {
		c.undecided++
		return
	}
	if own == 0 {
		c.missing++
		if c.missing < 3 {
			t.Logf("own missing in %s %v\n%s", r, r.Request.Blocked, tree)
		}
		return
	}
	var truth map[string]float64
	if err := json.Unmarshal([]byte(x.Text), &truth); err != nil {
		t.Fatalf("%v: %q", err, x.Text)
	}
	seconds := tree.inclusive()
	for name, want := range truth {
		if math.Abs(seconds[name]-want) <= max(0.003, 0.05*want) {
			c.right++
			continue
		}
		c.wrong = append(c.wrong, fmt.Sprintf("%s: %s %.6f, in truth %.6f", r, name, seconds[name], want))
		if len(c.wrong) < 3 {
			t.Logf("%s\n%s\n%s", c.wrong[len(c.wrong)-1], x.Text, tree)
		}
	}
}

var branches = map[string]bool{"[task]": true, "[thread]": true, "[greenlet]": true}

func checkBranchSums(t *testing.T, r *Record) {
	t.Helper()
	root := r.tree(t)
	if math.Abs(root.Time-r.Stacktrace.Duration) > rounding(1) {
		t.Errorf("root %.6f of duration %.6f: %s", root.Time, r.Stacktrace.Duration, r)
	}
	root.walk(func(f *Frame, _ []*Frame) {
		sum := 0.0
		for _, child := range f.Children {
			if !branches[child.Function] {
				sum += child.Time
			}
		}
		if sum > f.Time+rounding(len(f.Children)) {
			t.Errorf("callees of %s take %.6f of its %.6f: %s\n%s", f.Function, sum, f.Time, r, root)
		}
	})
}
