package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// servers are started as their documentation says.
var servers = []server{
	{
		name: "gunicorn sync", pip: "gunicorn",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT wsgi:app",
		paths: "/work /pool /thread",
	},
	{
		name: "gunicorn gthread", pip: "gunicorn", often: true,
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 32 wsgi:app",
		paths: "/work /pool /thread /simple /applied? /applied /mapped /own? /own /shared /last?",
	},
	{
		name: "gunicorn gevent", pip: "gunicorn gevent packaging", often: true,
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k gevent wsgi:app",
		paths: "/work /pool /thread /spawn",
	},
	{
		name: "gunicorn asgi", pip: "gunicorn>=25",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k asgi asgi:app",
		paths: "/await /gather /work /executor /tothread",
	},
	{
		name: "gunicorn uvicorn", pip: "gunicorn uvicorn-worker httptools uvloop",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k uvicorn_worker.UvicornWorker asgi:app",
		paths: "/await /gather /work",
	},
	{
		name: "gevent.pywsgi", pip: "gevent",
		args:  "serve.py gevent_pywsgi PORT",
		paths: "/work /pool /spawn",
	},
	{
		name: "gevent.pywsgi, older greenlet", pip: "zope.interface==5.5.2 zope.event==4.6", older: "greenlet==1.1.3 gevent==21.12.0",
		args:  "serve.py gevent_pywsgi PORT",
		paths: "/work /pool? /pool /spawn", minor: 6, newest: 10,
	},
	{
		name: "eventlet.wsgi", pip: "eventlet",
		args:  "serve.py eventlet_wsgi PORT",
		paths: "/work /pool? /pool /thread",
	},
	{
		name: "uvicorn h11", pip: "uvicorn h11 wrapt", often: true,
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning asgi:app",
		paths: "/await /brief /gather /group /created /many /leave /executor /tothread /back /proxied /work /called? /called",
	},
	{
		name: "uvicorn httptools", pip: "uvicorn httptools",
		args:  "BIN/uvicorn --port PORT --loop asyncio --http httptools --log-level warning asgi:app",
		paths: "/await /gather /executor /tothread /deep /batched? /batched",
	},
	{
		name: "uvicorn BlackSheep", pip: "uvicorn blacksheep sqlalchemy>=2.1 greenlet", minor: 10,
		args:  "BIN/uvicorn --port PORT --log-level warning sheep:app",
		paths: "/query? /query /await /gather /group /tothread", // the first query imports greenlet
	},
	{
		name: "uvicorn uvloop", pip: "uvicorn uvloop httptools", often: true,
		args:  "BIN/uvicorn --port PORT --loop uvloop --http httptools --log-level warning asgi:app",
		paths: "/await /gather /group /created /executor /tothread /back /work /called? /called",
	},
	{
		name: "hypercorn", pip: "hypercorn",
		args:  "BIN/hypercorn -b 127.0.0.1:PORT asgi:app",
		paths: "/await /gather /tothread",
	},
	{
		name: "hypercorn WSGI", pip: "hypercorn", often: true, // whose answers are written by tasks that its threads have made
		args:  "BIN/hypercorn -b 127.0.0.1:PORT wsgi:wsgi:app",
		paths: "/work",
	},
	{
		name: "hypercorn uvloop", pip: "hypercorn uvloop",
		args:  "BIN/hypercorn -k uvloop -b 127.0.0.1:PORT asgi:app",
		paths: "/await /gather /tothread",
	},
	{
		name: "hypercorn trio", pip: "hypercorn trio", often: true,
		args:  "BIN/hypercorn -k trio -b 127.0.0.1:PORT tri:app",
		paths: "/trio? /trio /nursery /channel /lock /socket /lend /fromthread /timeout",
	},
	{
		name: "hypercorn trio FastAPI", pip: "hypercorn trio fastapi",
		args:  "BIN/hypercorn -k trio -b 127.0.0.1:PORT fast:app",
		paths: "/def/work? /def/work /stream-def/work",
	},
	{
		name: "daphne", pip: "daphne greenlet",
		args:  "BIN/daphne -p PORT asgi:app",
		paths: "/switch /await /gather /tothread",
	},
	{
		name: "aiohttp", pip: "aiohttp", often: true,
		args:  "aio.py PORT",
		paths: "/await /gather /group /tothread /executor",
	},
	{
		name: "aiohttp uvloop", pip: "aiohttp", older: "uvloop==0.22.1", often: true, // which writes between steps
		args:  "aio.py PORT uvloop",
		paths: "/await? /await /gather /executor",
	},
	{
		name: "aiohttp eager", pip: "aiohttp", often: true,
		args:  "aio.py PORT eager",
		paths: "/await /brief /gather /group /created /many /leave /tothread", minor: 12,
	},
	{
		name: "tornado", pip: "tornado", often: true,
		args:  "torn.py PORT",
		paths: "/await /gather /tothread /executor /called? /called /coroutine",
	},
	{
		name: "waitress", pip: "waitress",
		args:  "serve.py waitress PORT",
		paths: "/work /pool",
	},
	{
		name: "Werkzeug", pip: "werkzeug",
		args:  "serve.py werkzeug PORT",
		paths: "/work /pool",
	},
	{
		name: "runserver", pip: "django",
		args:  "dj.py runserver --noreload 127.0.0.1:PORT",
		paths: "/work /pool",
	},
	{
		name: "cheroot", pip: "cheroot",
		args:  "serve.py cheroot PORT",
		paths: "/work /pool",
	},
	{
		name: "wsgiref", pip: "",
		args:  "serve.py wsgiref PORT",
		paths: "/work /pool",
	},
	{
		name: "bjoern", pip: "bjoern",
		args:  "serve.py bjoern PORT",
		paths: "/work /pool", minor: 11,
	},
	{
		name: "uWSGI", pip: "uwsgi",
		args:  "BIN/uwsgi --http-socket 127.0.0.1:PORT " + uwsgiApp,
		paths: "/work", closes: true,
	},
	{
		name: "uWSGI with a thread of its master's", pip: "uwsgi", often: true, // of which the workers have the state alone
		args:  "BIN/uwsgi --http-socket 127.0.0.1:PORT --master --processes 2 " + strings.Replace(uwsgiApp, "wsgi.py", "background.py", 1),
		paths: "/work", closes: true,
	},
	{
		name: "asyncio with a late executor", often: true,
		args:  "late.py PORT",
		paths: "/executor? /executor",
	},
	{
		name: "granian WSGI", pip: "granian", often: true,
		args:  "BIN/granian --interface wsgi --port PORT --blocking-threads 8 wsgi:app",
		paths: "/work /pool",
	},
	{
		name: "granian ASGI", pip: "granian", often: true,
		args:  "BIN/granian --interface asgi --port PORT asgi:app",
		paths: "/await /gather /work /tothread",
	},
	{
		name: "granian RSGI", pip: "granian", // which tells an application nothing that could tell requests apart
		args:  "BIN/granian --interface rsgi --port PORT rsgi:app",
		paths: "/await?",
	},

	{
		name: "FastAPI", pip: "fastapi uvicorn h11 greenlet", often: true,
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning fast:app",
		paths: "/async/await /async/gather /def/work /def/pool /stream/await /stream-def/work /background/gather /async/tothread /async/executor /def/own? /def/own /def/simple /async/switch /def/from",
	},
	{
		name: "FastAPI uvloop", pip: "fastapi uvicorn uvloop httptools",
		args:  "BIN/uvicorn --port PORT --loop uvloop --http httptools --log-level warning fast:app",
		paths: "/async/gather /def/work /stream/await",
	},
	{
		name: "FastAPI middleware", pip: "fastapi uvicorn h11",
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning fast:middleware",
		paths: "/async/await /async/gather /def/work /stream/await /background/gather",
	},
	{
		name: "Django ASGI", pip: "django uvicorn h11", often: true,
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --lifespan off --log-level warning dj:asgi",
		paths: "/work /async/await /async/gather",
	},
	{
		name: "Django ASGI mixed", pip: "django uvicorn h11", often: true,
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --lifespan off --log-level warning djmixed:asgi",
		paths: "/work /async/await /async/gather",
	},
	{
		name: "Django ASGI mixed, older Python", pip: "django uvicorn h11", often: true, minor: 8, newest: 10,
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --lifespan off --log-level warning djmixed:asgi",
		paths: "/work /async/await /async/gather",
	},
	{
		name: "Flask async", pip: "flask[async] gunicorn",
		args:  "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 32 wsgi:async_views",
		paths: "/await /gather /work /handed",
	},
	{
		name: "a2wsgi", pip: "a2wsgi uvicorn h11", often: true,
		args:  "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning --lifespan off asgi:bridge",
		paths: "/work /pool",
	},
	{
		name: "uWSGI --http", pip: "uwsgi",
		args:  "BIN/uwsgi --http 127.0.0.1:PORT " + uwsgiApp,
		paths: "/work", closes: true,
	},
	{
		name: "uWSGI --http with a master", pip: "uwsgi", often: true, // whose router is Python too
		args:  "BIN/uwsgi --http 127.0.0.1:PORT --master --processes 2 " + uwsgiApp,
		paths: "/work", closes: true,
	},
}

// TestServers has every server answer many requests at once, each with functions that no other may be seen in.
func TestServers(t *testing.T) {
	prepared(t)
	all := slices.Clone(servers)
	for _, v := range tlsServers {
		v.name, v.tls = v.name+" TLS", true
		all = append(all, v)
	}
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			if !v.often && os.Getenv("APM_EBPF_SERVERS") == "" {
				t.Skip("only with APM_EBPF_SERVERS=1, as by make test-servers")
			}
			python := venv(t, v.interpreter(t))
			install(t, python, v.pip)
			s := v.start(t, python)
			a := attach(t, s.PID, "-F", "1000")
			for _, path := range strings.Fields(v.paths) {
				t.Run(path, func(t *testing.T) { v.check(t, s, a, path) })
			}
		})
	}
}

func (v *server) check(t *testing.T, s *Service, a *Agent, path string) {
	path, partial := strings.CutSuffix(path, "~")
	path, untold := strings.CutSuffix(path, "?")
	before := len(a.seen)
	if untold { // threads are made by the first request
		s.get(t, path+"/0")
		before++
		a.await(t, before)
	}
	all := v.ask(t, s, path)
	records := a.await(t, before+len(all))[before:]
	found := byID(t, records)
	c := lanesComparison{partial: partial}
	for _, x := range all {
		if r := found[x.ID]; r != nil {
			c.add(t, r, x)
		} else {
			t.Errorf("no record of %s", x.path)
		}
	}
	undecided, missing := c.undecided > 0 && !untold, 50*c.missing > len(all)
	if undecided || missing || c.foreign > 0 || 30*len(c.wrong) > c.right+len(c.wrong) {
		t.Errorf("of %d requests %d have no owner, %d lack their own functions, %d show others'", len(all), c.undecided, c.missing, c.foreign)
		t.Errorf("%d times are right, %d wrong: %.90q", c.right, len(c.wrong), c.wrong)
	}
}

// TestAlone has requests one at a time: no other task of theirs tells when one is suspended, and the server's own come
// between at any moment.
func TestAlone(t *testing.T) {
	prepared(t)
	for _, name := range []string{"uvicorn h11", "uvicorn uvloop", "aiohttp", "granian RSGI"} {
		t.Run(name, func(t *testing.T) {
			v := servers[slices.IndexFunc(servers, func(v server) bool { return v.name == name })]
			python := venv(t, v.interpreter(t))
			install(t, python, v.pip)
			s := v.start(t, python)
			a := attach(t, s.PID, "-F", "1000")
			ahead := 0
			for known := false; !known; { // how the server works
				if ahead++; ahead > crowd {
					t.Fatal("no request has an owner")
				}
				s.get(t, "/parts/0")
				known = !a.await(t, ahead)[ahead-1].incomplete("owner")
			}
			var all []asked
			for k := range crowd {
				target := fmt.Sprintf("/parts/%d", k)
				all = append(all, asked{s.get(t, target), target, k})
			}
			found := byID(t, a.exactly(t, ahead+len(all)))
			var c lanesComparison
			for _, x := range all {
				c.add(t, found[x.ID], x)
			}
			if c.undecided+c.foreign+c.missing > 0 || 50*len(c.wrong) > c.right {
				t.Errorf("%d have no owner, %d show others' functions, %d lack their own", c.undecided, c.foreign, c.missing)
				t.Errorf("%d times are right, %d wrong: %q", c.right, len(c.wrong), c.wrong)
			}
		})
	}
}

// lanesComparison holds records against what their services tell.
type lanesComparison struct {
	partial                            bool // branches may be missing
	undecided, foreign, missing, right int
	wrong                              []string
}

// numbered matches the functions of work.py.
var numbered = regexp.MustCompile(`^([a-z]+)_(\d+)$`)

func (c *lanesComparison) add(t *testing.T, r *Record, x asked) {
	t.Helper()
	checkSums(t, r)
	own, foreign := false, false
	tree := r.tree(t)
	tree.walk(func(f *Frame, _ []*Frame) {
		if m := numbered.FindStringSubmatch(f.name()); m != nil {
			mine := m[2] == strconv.Itoa(x.k)
			own, foreign = own || mine, foreign || !mine
		}
	})
	switch {
	case foreign:
		c.foreign++
		t.Logf("%s\n%s", r, tree)
	case r.incomplete("owner"):
		c.undecided++
	case !own:
		c.missing++
	default:
		c.compareTimes(t, r, x, tree)
	}
}

func (c *lanesComparison) compareTimes(t *testing.T, r *Record, x asked, tree *Frame) {
	t.Helper()
	var truth map[string]float64
	if err := json.Unmarshal([]byte(x.Text), &truth); err != nil {
		t.Fatalf("%v: %q", err, x.Text)
	}
	seconds := withBranches(tree)
	for name, want := range truth {
		kind := numbered.FindStringSubmatch(name)[1]
		switch {
		case c.partial && !strings.Contains(x.path, "/"+kind+"/"):
		case math.Abs(seconds[name]-want) <= max(0.003, 0.05*want):
			c.right++
		default:
			c.wrong = append(c.wrong, fmt.Sprintf("%s: %s %.6f, in truth %.6f", r, name, seconds[name], want))
		}
	}
}

// withBranches gives seconds by function name, outermost calls only, of all lanes.
func withBranches(root *Frame) map[string]float64 {
	seconds := map[string]float64{}
	root.walk(func(f *Frame, above []*Frame) {
		recursive := slices.ContainsFunc(above, func(a *Frame) bool { return a.name() == f.name() })
		if !f.bracketed() && !recursive {
			seconds[f.name()] += f.Time
		}
	})
	return seconds
}
