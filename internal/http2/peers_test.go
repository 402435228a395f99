package http2

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// truth is what a handler knows of a request.
type truth struct {
	from          time.Duration // since the service began
	status        int
	in, out       int64 // bodies
	aborted, gone bool  // by the server, by the client
}

// service is a handler that does what a request asks for and notes it by the request's number.
type service struct {
	start time.Time
	runs  sync.WaitGroup
	mu    sync.Mutex
	truth map[string]*truth
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	know := &truth{from: time.Since(s.start)}
	s.runs.Add(1)
	defer s.runs.Done()
	defer func() {
		s.mu.Lock()
		s.truth[r.URL.RequestURI()] = know
		s.mu.Unlock()
	}()
	ask := func(name string) int {
		n, _ := strconv.Atoi(r.URL.Query().Get(name))
		return n
	}
	know.in, _ = io.Copy(io.Discard, r.Body)
	if ask("interim") > 0 {
		w.Header().Set("Link", "</x>")
		w.WriteHeader(http.StatusEarlyHints)
	}
	if ask("trailer") > 0 {
		w.Header().Set("Trailer", "Grpc-Status")
		defer w.Header().Set("Grpc-Status", "0")
	}
	w.Header().Set("X-Long", strings.Repeat("l", ask("long")))
	know.status = ask("status")
	w.WriteHeader(know.status)
	for left := ask("out"); left > 0; {
		n, err := w.Write(make([]byte, min(left, 1+ask("step"))))
		know.out += int64(n)
		left -= n
		if err != nil {
			know.gone = true
			return
		}
		if ask("flush") > 0 {
			w.(http.Flusher).Flush()
		}
	}
	if ask("abort") > 0 {
		know.aborted = true
		panic(http.ErrAbortHandler)
	}
	if ask("wait") > 0 {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		know.gone = true
	}
}

// ask makes the query of a random request.
func ask(r *rand.Rand) string {
	q := url.Values{}
	set := func(name string, n int) { q.Set(name, strconv.Itoa(n)) }
	set("status", []int{200, 200, 201, 404, 418, 503}[r.IntN(6)])
	if r.IntN(3) > 0 {
		set("out", r.IntN(2)*r.IntN(200_000)+r.IntN(3000))
		set("step", 1+r.IntN(40_000))
	}
	for _, name := range []string{"interim", "trailer", "flush"} {
		set(name, r.IntN(2))
	}
	set("long", r.IntN(2)*r.IntN(4000)) // so that no head is longer than what is kept of a write
	switch r.IntN(12) {
	case 0:
		set("abort", 1)
	case 1:
		set("wait", 1)
	}
	return q.Encode()
}

const traced = "6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10"

// load makes requests from several goroutines at a time and gives what was asked for.
func load(t *testing.T, client *http.Client, base string, count int) (targets []string) {
	t.Helper()
	var all sync.WaitGroup
	todo := make(chan int)
	targets = make([]string, count)
	for worker := range 16 {
		r := rand.New(rand.NewPCG(uint64(worker), 3))
		all.Go(func() {
			for i := range todo {
				targets[i] = fmt.Sprintf("/%d?%s", i, ask(r))
				if err := one(client, base+targets[i], r.IntN(3)*r.IntN(100_000), i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range count {
		todo <- i
	}
	close(todo)
	all.Wait()
	return targets
}

// one makes a request with a body of so many bytes. It cancels one whose handler waits.
func one(client *http.Client, address string, body, number int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	method, content := http.MethodGet, io.Reader(nil)
	if body > 0 {
		method, content = http.MethodPost, strings.NewReader(strings.Repeat("GET / HTTP/1.1\r\n\r\n", body/18+1))
	}
	r, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return err
	}
	r.Header.Set("X-APM-TRACER", fmt.Sprintf("%s:%d", traced, number))
	r.Header.Set("Cookie", strings.Repeat("c", number%7*1500))
	resp, err := client.Do(r)
	if err == nil {
		defer resp.Body.Close()
		if strings.Contains(address, "wait=1") {
			return nil
		}
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if strings.Contains(address, "abort=1") {
		return nil
	}
	return err
}

// compare checks what was told against what was asked for and what the handlers know.
func compare(t *testing.T, l *tapped, s *service, targets []string, host string) {
	t.Helper()
	s.runs.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened != len(targets) || len(l.requests) != len(targets) || l.lost > 0 {
		t.Errorf("%d requests opened and %d ended of %d; framing was lost %d times", l.opened, len(l.requests), len(targets), l.lost)
	}
	for _, q := range l.requests {
		know := s.truth[q.Target]
		if know == nil {
			t.Errorf("a request for %q was told and not served", q.Target)
			continue
		}
		delete(s.truth, q.Target)
		number, _, _ := strings.Cut(q.Target[1:], "?")
		if q.Proto != "HTTP/2.0" || q.Host != host || q.TraceID != traced || q.ClientTime != number {
			t.Errorf("%+v has other texts", *q)
		}
		if q.Status != know.status && !(know.aborted && q.NoResponse) {
			t.Errorf("%+v: the status was %d", *q, know.status)
		}
		if (q.Method == "POST") != (know.in > 0) || q.BytesIn < know.in || q.BytesIn > know.in+know.in/50+20_000 ||
			q.BytesOut > know.out+know.out/50+13_000+3000*9 || !know.gone && !know.aborted && q.BytesOut < know.out {
			t.Errorf("%+v: the handler read %d bytes and wrote %d", *q, know.in, know.out)
		}
		from := uint64(know.from)
		if q.Start > q.HeadDone || q.Start > from || q.FirstWrite > q.End || q.FirstWrite == 0 && !know.aborted && !know.gone {
			t.Errorf("%+v: its handler began at %d", *q, from)
		}
		if q.ClientClosed != know.gone || q.Truncated || q.Upgraded {
			t.Errorf("%+v: aborted %t, client gone %t", *q, know.aborted, know.gone)
		}
	}
}

// TestGo has Go's client ask Go's server, which is shown the plain side of TLS where there is any.
func TestGo(t *testing.T) {
	for name, encrypted := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			l := listen(t)
			s := &service{start: l.start, truth: map[string]*truth{}}
			transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
			transport.Protocols.SetHTTP2(encrypted)
			transport.Protocols.SetUnencryptedHTTP2(!encrypted)
			scheme := "http"
			if encrypted {
				scheme = "https"
				sample := httptest.NewUnstartedServer(nil) // for its certificate
				sample.EnableHTTP2 = true
				sample.StartTLS()
				defer sample.Close()
				l.wrap = func(c net.Conn) net.Conn { return tls.Server(c, sample.TLS) }
				transport.TLSClientConfig = sample.Client().Transport.(*http.Transport).TLSClientConfig
			}
			server := &http.Server{Handler: s, Protocols: new(http.Protocols)}
			server.Protocols.SetUnencryptedHTTP2(true)
			go server.Serve(l)
			targets := load(t, &http.Client{Transport: transport}, scheme+"://"+l.Addr().String(), 400)
			if err := server.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			transport.CloseIdleConnections()
			l.conns.Wait()
			compare(t, l, s, targets, l.Addr().String())
		})
	}
}
