package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// TestOutgoingRequests has the service be a client of another one.
func TestOutgoingRequests(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		upstream := httptest.NewServer(http.HandlerFunc(fromUpstream))
		defer upstream.Close()
		haveItFetch(t, gunicorn(t, anyPython(t), "app", w.flags...), upstream.URL)
	})
}

func fromUpstream(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "from upstream")
}

// haveItFetch has the service ask another one, and looks for records of its own requests only.
func haveItFetch(t *testing.T, s *Service, upstream string) {
	t.Helper()
	a := attach(t, s.PID)
	const n = 5
	for range n {
		if answer := s.get(t, "/fetch?url="+url.QueryEscape(upstream+"/inner")); answer.Text != "fetched 13 bytes" {
			t.Fatal(answer.Text)
		}
	}
	records := a.exactly(t, n)
	checkSums(t, records...)
	for _, r := range records {
		if r.Endpoint != "/fetch" || r.Request.Status != 200 {
			t.Errorf("%s", r)
		}
	}
}

// TestWhatOnlyLooksLikeHTTP has the service read and write heads in files, pipes, socket pairs and databases.
func TestWhatOnlyLooksLikeHTTP(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		database, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer database.Close()
		go serveHeads(database)
		s := gunicorn(t, anyPython(t), "app", w.flags...)
		a := attach(t, s.PID)
		const n = 5
		for range n {
			if answer := s.get(t, "/noise?database="+database.Addr().String()); answer.Text != "done" {
				t.Fatal(answer.Text)
			}
		}
		for _, r := range a.exactly(t, n) {
			if r.Endpoint != "/noise" || r.Request.Status != 200 {
				t.Errorf("%s", r)
			}
		}
	})
}

// serveHeads answers every line with a request.
func serveHeads(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				io.WriteString(conn, "GET /from/the/database HTTP/1.1\r\nHost: nobody\r\n\r\n")
			}
		}()
	}
}
