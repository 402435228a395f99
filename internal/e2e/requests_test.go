package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// worker is a way in which gunicorn serves requests.
type worker struct {
	name      string
	flags     []string
	keepAlive bool
}

var workers = []worker{
	{"sync", []string{"-k", "sync"}, false},
	{"gthread", []string{"-k", "gthread", "--threads", "4"}, true},
}

func onEachWorker(t *testing.T, test func(t *testing.T, w worker)) {
	for _, w := range workers {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}

// exchange is a request with what is to be told of it.
type exchange struct {
	method, target, headers, body string

	status   int
	endpoint string // where it is not the target
	cut      bool   // the server closes the connection in the midst of the answer
}

var large = strings.Repeat("b", 1<<20)

var exchanges = []exchange{
	{method: "GET", target: "/", status: 200},
	{method: "GET", target: "/a%20b/%C3%A4?q=1", status: 200, endpoint: "/a b/ä"},
	{method: "HEAD", target: "/", status: 200},
	{method: "HEAD", target: "/big/100000", status: 200},
	{method: "OPTIONS", target: "*", status: 200},
	{method: "GET", target: "/empty", status: 200},
	{method: "GET", target: "/status/204", status: 204},
	{method: "GET", target: "/status/304", status: 304},
	{method: "GET", target: "/error", status: 500},
	{method: "GET", target: "/escape", status: 500},
	{method: "GET", target: "/escape-late", status: 200, cut: true},
	{method: "GET", target: "/stream/100", status: 200},
	{method: "GET", target: "/big/1000000", status: 200},
	{method: "POST", target: "/echo", headers: "Content-Length: 5\r\n", body: "small", status: 200},
	{method: "POST", target: "/echo", headers: fmt.Sprintf("Content-Length: %d\r\n", len(large)), body: large, status: 200},
	{method: "POST", target: "/echo", headers: "Transfer-Encoding: chunked\r\n", body: chunked(large, 10_000), status: 200},
	{method: "POST", target: "/echo", headers: "Transfer-Encoding: chunked\r\n", body: chunked("tiny", 1), status: 200},
	{method: "PUT", target: "/ignore", headers: "Content-Length: 7\r\n", body: "ignored", status: 200},
	{method: "GET", target: "/nap/20", status: 200},
}

// TestEveryRequestHasOneRecord asks for everything, each on a connection of its own and, where that is possible, all
// on one.
func TestEveryRequestHasOneRecord(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		askForEverything(t, gunicorn(t, anyPython(t), "app", w.flags...), w.keepAlive)
	})
}

func askForEverything(t *testing.T, s *Service, keepAlive bool) {
	t.Helper()
	a := attach(t, s.PID)
	sent := map[string]exchange{}
	for _, x := range exchanges {
		c := s.dial(t)
		sent[c.do(t, x.method, x.target, "Connection: close\r\n"+x.headers, x.body).ID] = x
		c.Close()
	}
	if keepAlive {
		c := s.dial(t)
		for _, x := range exchanges {
			answer := c.do(t, x.method, x.target, x.headers, x.body)
			sent[answer.ID] = x
			if answer.Close || x.cut {
				c = s.dial(t)
			}
		}
	}
	records := a.exactly(t, len(sent))
	checkSums(t, records...)
	found := byID(t, records)
	for id, x := range sent {
		checkExchange(t, s, x, found[id])
	}
}

func checkExchange(t *testing.T, s *Service, x exchange, r *Record) {
	t.Helper()
	if r == nil {
		t.Errorf("no record of %s %s", x.method, x.target)
		return
	}
	if x.endpoint == "" {
		x.endpoint = x.target
	}
	if r.Request.Method != x.method || r.Endpoint != x.endpoint || r.Request.Status != x.status {
		t.Errorf("%s %s %d is told as %s", x.method, x.endpoint, x.status, r)
	}
	if r.Services != s.Address || r.Protocol != "HTTP/1.1" || r.ProcName != "app:app" || r.Request.Host != s.Address {
		t.Errorf("wrong service: %s", r.raw)
	}
	if r.Request.ClientTime != "1700000000" || r.Apitrace.RespTime < r.Apitrace.ReqTime {
		t.Errorf("wrong times: %s", r.raw)
	}
	if r.Request.BytesIn < len(x.body)+len(x.target) {
		t.Errorf("%d bytes in, but the body has %d: %s", r.Request.BytesIn, len(x.body), r)
	}
	if len(r.Request.Incomplete) > 0 {
		t.Errorf("tells less than the whole: %s", r)
	}
}

// TestWorkers spreads requests over processes, which are found from their master.
func TestWorkers(t *testing.T) {
	for n := 1; n <= 4; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := gunicorn(t, anyPython(t), "app", "-w", fmt.Sprint(n))
			pids := s.workers(t, n)
			a := attach(t, s.PID)
			const each = 10
			var ids []string
			for range each * n {
				ids = append(ids, s.get(t, "/nap/5").ID)
			}
			found := byID(t, a.exactly(t, each*n))
			served := map[int]bool{}
			for _, id := range ids {
				if found[id] == nil {
					t.Fatalf("no record of %s", id)
				}
				served[found[id].Request.PID] = true
			}
			for pid := range served {
				if !slices.Contains(pids, pid) {
					t.Errorf("served by %d, which is none of the workers %v", pid, pids)
				}
			}
		})
	}
}
