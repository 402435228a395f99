package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// TestHTTP2Servers has the streams of one connection be served by tasks of their own, and one after another by the thread
// or greenlet that reads them.
func TestHTTP2Servers(t *testing.T) {
	prepared(t)
	gunicorn := "BIN/gunicorn -b 127.0.0.1:PORT --certfile CERT --keyfile KEY --http-protocols h2,h1"
	for _, v := range []server{{
		name: "hypercorn", pip: "hypercorn",
		args:  "BIN/hypercorn -b 127.0.0.1:PORT --certfile CERT --keyfile KEY asgi:app",
		paths: "/await /gather",
	}, {
		name: "daphne", pip: "daphne twisted[tls,http2]", // whose event loop writes what tasks answer
		args:  "BIN/daphne -e ssl:PORT:privateKey=KEY:certKey=CERT:interface=127.0.0.1 asgi:app",
		paths: "/await /gather", minor: 10,
	}, {
		name: "gunicorn gthread", pip: "gunicorn[http2]>=25",
		args:  gunicorn + " -k gthread --threads 4 wsgi:app",
		paths: "/work /thread", minor: 10,
	}, {
		name: "gunicorn gevent", pip: "gunicorn[http2]>=25 gevent packaging",
		args:  gunicorn + " -k gevent wsgi:app",
		paths: "/work /thread", minor: 10,
	}} {
		t.Run(v.name, func(t *testing.T) {
			v.tls = true
			python := venv(t, v.interpreter(t))
			install(t, python, v.pip)
			checkStreams(t, v.start(t, python), strings.Fields(v.paths))
		})
	}
}

// checkStreams asks for many streams of one connection at once.
func checkStreams(t *testing.T, s *Service, paths []string) {
	t.Helper()
	a := attach(t, s.PID, "-F", "1000")
	client := http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	t.Cleanup(client.CloseIdleConnections)
	askStream(t, &client, s, "/")
	before := len(a.await(t, 1))
	for _, path := range paths {
		var lock sync.Mutex
		var streams sync.WaitGroup
		var all []asked
		for k := range crowd {
			streams.Go(func() {
				target := fmt.Sprintf("%s/%d", path, k)
				x := asked{askStream(t, &client, s, target), target, k}
				lock.Lock()
				defer lock.Unlock()
				all = append(all, x)
			})
		}
		streams.Wait()
		records := a.await(t, before+len(all))
		found := byID(t, records[before:])
		before = len(records)
		var c lanesComparison
		clients := map[string]bool{}
		for _, x := range all {
			r := found[x.ID]
			if r == nil {
				t.Fatalf("no record of %s", x.path)
			}
			clients[r.Request.Client] = true
			c.add(t, r, x)
		}
		if c.undecided+c.foreign+c.missing > 0 || 10*len(c.wrong) > c.right {
			t.Errorf("%s: %d have no owner, %d show others' functions, %d lack their own", path, c.undecided, c.foreign, c.missing)
			t.Errorf("%d times are right, %d wrong: %.90q", c.right, len(c.wrong), c.wrong)
		}
		if len(clients) != 1 {
			t.Errorf("%s: requests on %d connections", path, len(clients))
		}
	}
}

func askStream(t *testing.T, client *http.Client, s *Service, target string) *Answer {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "https://"+s.Address+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.NewString()
	request.Header.Set("X-APM-TRACER", id+":1")
	response, err := client.Do(request)
	if err != nil {
		t.Errorf("%s: %v", target, err)
		return &Answer{ID: id}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("%s: %v", target, err)
	}
	return &Answer{Response: response, Text: string(text), ID: id}
}
