package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// TestHTTP2Tasks has the streams of one connection be served by tasks that the connection's task starts.
func TestHTTP2Tasks(t *testing.T) {
	prepared(t)
	v := server{name: "hypercorn", args: "BIN/hypercorn -b 127.0.0.1:PORT --certfile CERT --keyfile KEY asgi:app", tls: true}
	python := venv(t, v.interpreter(t))
	install(t, python, "hypercorn")
	s := v.start(t, python)
	a := attach(t, s.PID, "-F", "1000")
	client := http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	t.Cleanup(client.CloseIdleConnections)
	askStream(t, &client, s, "/")
	before := len(a.await(t, 1))
	for _, path := range []string{"/await", "/gather"} {
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
