package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// streams serves HTTPS by asyncio, between two memory buffers.
var streams = server{name: "streams", args: "streams.py PORT CERT KEY", tls: true}

// TestTLS holds records of HTTPS to the same as those of HTTP.
func TestTLS(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		askForEverything(t, gunicornTLS(t, "app", w.flags...), w.keepAlive)
	})
}

// TestTLSEventLoop has many connections at once in one thread, and looks for each request's own functions.
func TestTLSEventLoop(t *testing.T) {
	s := streams.start(t, anyPython(t).Path)
	a := attach(t, s.PID, "-F", "1000")
	for _, path := range []string{"/await", "/gather"} {
		streams.check(t, s, a, path)
	}
	for _, r := range a.stop(t) {
		if r.Services != s.Address || r.Request.Status != 200 || r.Request.Client == "" {
			t.Errorf("%s", r.raw)
		}
	}
}

// TestTLSPeers tells by each record's address that its bytes are those of its connection.
func TestTLSPeers(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) { checkPeers(t, gunicornTLS(t, "app", w.flags...), "/big/300000") })
	t.Run("streams", func(t *testing.T) { checkPeers(t, streams.start(t, anyPython(t).Path), "/big/300000") })
}

func checkPeers(t *testing.T, s *Service, target string) {
	t.Helper()
	a := attach(t, s.PID)
	var lock sync.Mutex
	var clients sync.WaitGroup
	peers := map[string]string{}
	for range crowd {
		clients.Go(func() {
			for range 4 {
				c := s.dial(t)
				id := c.do(t, "GET", target, "Connection: close\r\n", "").ID
				lock.Lock()
				peers[id] = c.LocalAddr().String()
				lock.Unlock()
				c.Close()
			}
		})
	}
	clients.Wait()
	for id, r := range byID(t, a.exactly(t, len(peers))) {
		if r.Request.Client != peers[id] || r.Endpoint != target {
			t.Errorf("%s is told to ask: %s", peers[id], r.raw)
		}
	}
}

// TestTLSAndClear has one process serve both.
func TestTLSAndClear(t *testing.T) {
	s := streams.start(t, anyPython(t).Path)
	clear := &Service{Process: s.Process, Address: s.Log.wait(t, `in clear at (\S+)`, 1)[0], PID: s.PID}
	a := attach(t, s.PID)
	one, other := s.dial(t), clear.dial(t)
	for i := range 10 {
		target := fmt.Sprint("/big/", 1000*i)
		one.do(t, "GET", target, "", "")
		other.do(t, "GET", target, "", "")
	}
	records := a.exactly(t, 20)
	checkSums(t, records...)
	for i := 0; i < len(records); i += 2 {
		r, q := records[i].Request, records[i+1].Request
		if r.BytesOut != q.BytesOut || r.BytesIn != q.BytesIn || records[i].Services != s.Address || records[i+1].Services != clear.Address {
			t.Errorf("%s%s", records[i].raw, records[i+1].raw)
		}
	}
}

// TestTLSOutgoing has the service be a client of another one, over TLS both.
func TestTLSOutgoing(t *testing.T) {
	upstream := httptest.NewTLSServer(http.HandlerFunc(fromUpstream))
	defer upstream.Close()
	trusted := filepath.Join(t.TempDir(), "upstream.pem")
	writePEM(t, trusted, "CERTIFICATE", upstream.Certificate().Raw)
	t.Setenv("SSL_CERT_FILE", trusted)
	onEachWorker(t, func(t *testing.T, w worker) { haveItFetch(t, gunicornTLS(t, "app", w.flags...), upstream.URL) })
	t.Run("streams", func(t *testing.T) { haveItFetch(t, streams.start(t, anyPython(t).Path), upstream.URL) })
	t.Run("from clear", func(t *testing.T) { haveItFetch(t, gunicorn(t, anyPython(t), "app"), upstream.URL) })
}

// TestTLSAttach finds connections open, and takes them up at their next requests.
func TestTLSAttach(t *testing.T) {
	for name, s := range map[string]*Service{
		"gthread": gunicornTLS(t, "app", "-k", "gthread", "--keep-alive", "60"),
		"streams": streams.start(t, anyPython(t).Path),
	} {
		t.Run(name, func(t *testing.T) {
			var clients []*Client
			for range 3 {
				c := s.dial(t)
				c.do(t, "GET", "/", "", "")
				clients = append(clients, c)
			}
			a := attach(t, s.PID)
			for _, c := range clients {
				for range 3 {
					c.do(t, "GET", "/", "", "")
				}
			}
			a.exactly(t, 9)
		})
	}
}

// TestTLSVersions has clients of both versions that are still in use.
func TestTLSVersions(t *testing.T) {
	s := streams.start(t, anyPython(t).Path)
	a := attach(t, s.PID)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := tls.Dial("tcp", s.Address, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		c := newClient(t, conn, err, s.Address)
		c.do(t, "GET", "/big/100", "", "")
		c.do(t, "GET", "/big/100", "", "")
		c.Close()
	}
	a.exactly(t, 4)
}

// TestTLSLaterWorkers has the service start workers after the agent.
func TestTLSLaterWorkers(t *testing.T) {
	s := gunicornTLS(t, "app")
	a := attach(t, s.PID)
	for n := 2; n <= 4; n++ {
		s.signal(t, syscall.SIGHUP)
		pid := s.workers(t, n)[n-1]
		eventually(t, fmt.Sprint("a request served by ", pid), func() bool {
			s.get(t, "/nap/5")
			return slices.ContainsFunc(a.records(t), func(r *Record) bool { return r.Request.PID == pid })
		})
	}
}

// TestTLSAgentKilled has the agent end without a word between two requests on a connection.
func TestTLSAgentKilled(t *testing.T) {
	s := gunicornTLS(t, "app", "-k", "gthread", "--threads", "4", "--keep-alive", "60")
	a := attach(t, s.PID)
	gate := newGate(t)
	c, waiting := s.dial(t), s.dial(t)
	c.do(t, "GET", "/", "", "")
	_, open := gate.held(waiting, "/hold", "")
	a.signal(t, os.Kill.(syscall.Signal))
	a.exit(t)
	open()
	if answer := waiting.answer(t, "GET"); answer.Text != "released" {
		t.Errorf("the service answers %q", answer.Text)
	}
	if answer := c.do(t, "GET", "/", "", ""); answer.Text != "hello" {
		t.Errorf("the service answers %q", answer.Text)
	}
}
