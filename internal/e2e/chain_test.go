package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// TestChain has a Python service ask a Go service that asks a Python service, all beside one agent: their records are
// joined by the trace that the first client named, in either header.
func TestChain(t *testing.T) {
	prepared(t)
	first := server{name: "gunicorn", pip: "gunicorn", args: "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 16 relay:app"}
	last := server{name: "uvicorn", pip: "uvicorn h11", args: "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning asgi:app"}
	python := venv(t, first.interpreter(t))
	install(t, python, first.pip)
	install(t, python, last.pip)
	services := []*Service{first.start(t, python), goService(t, goBuilds[1]), last.start(t, python)}
	a := attach(t, services[0].PID, "--pid", strconv.Itoa(services[1].PID), "--pid", strconv.Itoa(services[2].PID))
	const clients = 12
	var all sync.WaitGroup
	headers := map[string][2]string{} // by trace ID
	for i := range clients {
		id := uuid.NewString()
		header := [2]string{"X-APM-TRACER", id + ":1700000000"}
		if i%2 == 1 {
			id = strings.ReplaceAll(id, "-", "")
			header = [2]string{"traceparent", "00-" + id + "-00f067aa0ba902b7-01"}
		}
		headers[id] = header
		target := fmt.Sprintf("http://%s/relay/%s/relay/%s/await/%d", services[0].Address, services[1].Address, services[2].Address, i)
		all.Go(func() { askTraced(t, target, header) })
	}
	all.Wait()
	chains := map[string]map[string]*Record{} // by trace ID and service
	for _, r := range a.exactly(t, 3*clients) {
		if chains[r.Apitrace.TraceID] == nil {
			chains[r.Apitrace.TraceID] = map[string]*Record{}
		}
		chains[r.Apitrace.TraceID][r.Services] = r
	}
	for id := range headers {
		var chain []*Record
		for _, s := range services {
			if r := chains[id][s.Address]; r != nil {
				chain = append(chain, r)
			}
		}
		if len(chain) != len(services) {
			t.Errorf("trace %s has %d records", id, len(chain))
			continue
		}
		checkSums(t, chain...)
		checkChain(t, chain)
	}
}

func askTraced(t *testing.T, target string, header [2]string) {
	request, err := http.NewRequest("GET", target, nil)
	if err != nil {
		t.Error(err)
		return
	}
	request.Header.Set(header[0], header[1])
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %s %q %v", target, answer.Status, text, err)
	}
}

// checkChain tells whether each request of a chain encloses the next, and waited for it in the function that asked.
func checkChain(t *testing.T, chain []*Record) {
	t.Helper()
	for i, r := range chain[:len(chain)-1] {
		next := chain[i+1]
		begins, ends := r.Stacktrace.StartTime, r.Stacktrace.StartTime+r.Stacktrace.Duration
		if next.Stacktrace.StartTime < begins || next.Stacktrace.StartTime+next.Stacktrace.Duration > ends {
			t.Errorf("%s is not within %s", next, r)
		}
		relay := r.tree(t).find("relay")
		if relay == nil {
			t.Errorf("no relay: %s\n%s", r, r.tree(t))
			continue
		}
		waited := relay.total("[socket recv]") + relay.total("[IO wait]") + relay.total("[select]")
		if took := next.Stacktrace.Duration; relay.Time < took-tolerance(took) || waited < took/2 {
			t.Errorf("%s waited %.6f s, the next took %.6f s:\n%s", r, waited, took, relay)
		}
	}
	if runtime := chain[1].Request.Runtime; !strings.HasPrefix(runtime, "go1.") {
		t.Errorf("the runtime of the second is %s", runtime)
	}
}
