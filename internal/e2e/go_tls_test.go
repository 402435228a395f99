package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/uuid"
)

func goServiceTLS(t *testing.T, build goBuild) *Service {
	t.Helper()
	cert, key := certificate(t)
	s := goService(t, build, cert, key)
	s.tls = true
	return s
}

// TestGoTLS holds records of HTTPS to the same as those of HTTP, whatever way the service was built.
func TestGoTLS(t *testing.T) {
	prepared(t)
	body := strings.Repeat("x", 100_000)
	for _, build := range goBuilds {
		t.Run(build.name, func(t *testing.T) {
			s := goServiceTLS(t, build)
			before := s.dial(t)
			before.do(t, "GET", "/", "", "")
			a := attach(t, s.PID)
			c := s.dial(t)
			answers := []*Answer{
				before.do(t, "GET", "/doze", "", ""),
				c.do(t, "GET", "/", "", ""),
				c.do(t, "POST", "/echo", fmt.Sprintf("Content-Length: %d\r\n", len(body)), body),
				c.do(t, "POST", "/echo", "Transfer-Encoding: chunked\r\n", chunked(body, 30_000)),
				c.do(t, "GET", "/missing?a=b", "", ""),
			}
			want := []string{"GET /doze 200", "GET / 200", "POST /echo 200", "POST /echo 200", "GET /missing 200"}
			for i, r := range a.exactly(t, len(want)) {
				got := fmt.Sprintf("%s %s %d", r.Request.Method, r.Endpoint, r.Request.Status)
				if got != want[i] || r.Services != s.Address || r.Request.Client == "" {
					t.Errorf("%s", r.raw)
				}
				if r.Request.BytesOut < len(answers[i].Text) || r.Endpoint == "/echo" && r.Request.BytesIn < len(body) {
					t.Errorf("%d bytes in, %d out: %s", r.Request.BytesIn, r.Request.BytesOut, r)
				}
				if i == 0 && r.tree(t).find("doze") == nil {
					t.Errorf("no doze:\n%s", r.tree(t))
				}
			}
		})
	}
}

// TestGoTLSUnknown has the agent warn where a service serves TLS in a way that is not known, and only if it does.
func TestGoTLSUnknown(t *testing.T) {
	prepared(t)
	build := goBuild{flags: "-gcflags=crypto/tls=-N -l", environment: []string{"CGO_ENABLED=0"}}
	const warning = `"warn".*HTTPS requests of this process are not recorded`
	secret := goServiceTLS(t, build)
	a := attach(t, secret.PID)
	secret.get(t, "/")
	a.Log.wait(t, warning, 1)
	clear := startGo(t, secret.Process.Cmd.Path)
	a = attach(t, clear.PID)
	clear.get(t, "/")
	a.exactly(t, 1)
	if regexp.MustCompile(warning).MatchString(a.Log.String()) {
		t.Errorf("warns of HTTPS that nobody serves: %s", a.Log)
	}
}

// TestGoTLSPeers tells by each record's address that its bytes are those of its connection.
func TestGoTLSPeers(t *testing.T) {
	prepared(t)
	checkPeers(t, goServiceTLS(t, goBuilds[1]), "/")
}

// proxyHeaders tell a client in the PROXY protocol's two ways.
var proxyHeaders = []string{
	"PROXY TCP4 192.0.2.1 192.0.2.2 50123 443\r\n",
	"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\xc3\xcb\x01\xbb",
}

// balancedConn is a connection by a load balancer, which tells its client before all else.
type balancedConn struct {
	net.Conn
	header string
	apart  bool // in a packet of its own
}

func (c *balancedConn) Write(p []byte) (int, error) {
	first := c.header
	c.header = ""
	if c.apart || first == "" {
		io.WriteString(c.Conn, first)
		return c.Conn.Write(p)
	}
	_, err := c.Conn.Write(append([]byte(first), p...))
	return len(p), err
}

// TestGoTLSBalanced has TLS begin after a header of the PROXY protocol.
func TestGoTLSBalanced(t *testing.T) {
	prepared(t)
	cert, key := certificate(t)
	s := goService(t, goBuilds[1], cert, key, "balanced")
	a := attach(t, s.PID)
	var sent []string
	for _, header := range proxyHeaders {
		for _, apart := range []bool{false, true} {
			conn, err := net.Dial("tcp", s.Address)
			if err != nil {
				t.Fatal(err)
			}
			balanced := &balancedConn{conn, header, apart}
			c := newClient(t, tls.Client(balanced, &tls.Config{InsecureSkipVerify: true}), nil, s.Address)
			sent = append(sent, c.do(t, "GET", "/own/1", "", "").ID, c.do(t, "GET", "/own/2", "", "").ID)
		}
	}
	for i, r := range a.exactly(t, len(sent)) {
		own := fmt.Sprintf("own%d", 1+i%2)
		if r.Apitrace.TraceID != sent[i] || r.Request.Status != 200 || r.tree(t).find(own) == nil {
			t.Errorf("want %s of %s: %s", own, sent[i], r)
		}
	}
}

// TestGoTLSHTTP2 has many streams at once on a few connections.
func TestGoTLSHTTP2(t *testing.T) {
	prepared(t)
	s := goServiceTLS(t, goBuilds[1])
	a := attach(t, s.PID)
	asked := map[string]string{}
	for range 3 {
		maps.Copy(asked, askStreams(t, s, 20, func(i int) string { return fmt.Sprintf("/own/%d", i) }))
	}
	for id, r := range byID(t, a.exactly(t, len(asked))) {
		if r.Protocol != "HTTP/2.0" || r.Endpoint != asked[id] || r.Request.Status != 200 {
			t.Errorf("%s is told as %s", asked[id], r.raw)
		}
	}
}

// askStreams has a client ask for n paths at once on a connection of HTTP/2, and gives the paths by trace ID.
func askStreams(t *testing.T, s *Service, n int, path func(i int) string) map[string]string {
	t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	defer client.CloseIdleConnections()
	asked := map[string]string{}
	for i := range n {
		asked[uuid.NewString()] = path(i)
	}
	var all sync.WaitGroup
	for id, path := range asked {
		all.Go(func() {
			request, _ := http.NewRequest("GET", "https://"+s.Address+path, nil)
			request.Header.Set("X-APM-TRACER", id)
			answer, err := client.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", path, answer.Status)
			}
		})
	}
	all.Wait()
	return asked
}

// TestGoUnharmed has stacks grow and goroutines change threads while probes are in their way, and while agents are killed.
func TestGoUnharmed(t *testing.T) {
	prepared(t)
	s := goServiceTLS(t, goBuilds[1])
	views := []string{"/grow", "/migrate", "/fan", "/compute"}
	view := func(i int) string { return views[i%len(views)] }
	for range 2 {
		a := attach(t, s.PID, "-F", "1000")
		var load sync.WaitGroup
		load.Go(func() { askStreams(t, s, 40, view) })
		a.await(t, 10)
		a.signal(t, syscall.SIGKILL)
		load.Wait()
	}
	a := attach(t, s.PID, "-F", "1000")
	asked := askStreams(t, s, 40, view)
	for id, r := range byID(t, a.exactly(t, len(asked))) {
		tree, function := r.tree(t), strings.TrimPrefix(asked[id], "/")
		long := function == "fan" || function == "compute" // enough to be seen surely
		if (long || tree.find("deep") != nil) && tree.find(function) == nil && !r.incomplete("stack_truncated") {
			t.Errorf("%s is not told: %s", function, r)
		}
	}
}
