package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// plain starts a server of the standard library on a host.
func plain(t testing.TB, python Python, host string, args ...string) *Service {
	t.Helper()
	s := startService(t, python, append([]string{"plain.py", host}, args...)...)
	s.Address = net.JoinHostPort(host, s.Log.wait(t, `Listening at: (\d+)`, 1)[0])
	return s
}

// TestPipelining sends requests without waiting for answers.
func TestPipelining(t *testing.T) {
	s := plain(t, anyPython(t), "127.0.0.1")
	a := attach(t, s.PID)
	c := dial(t, s.Address)
	const n = 50
	var all strings.Builder
	ids := map[string]string{}
	for i := range n {
		target, headers, body := fmt.Sprint("/", i), "", ""
		method := "GET"
		if i%5 == 4 {
			method, headers, body = "POST", "Content-Length: 3000\r\n", strings.Repeat("b", 3000)
		}
		head, id := c.head(method, target, headers)
		ids[id] = target
		all.WriteString(head + body)
	}
	c.send(t, all.String())
	for range n {
		c.answer(t, "GET")
	}
	records := a.exactly(t, n)
	checkSums(t, records...)
	for id, r := range byID(t, records) {
		if r.Endpoint != ids[id] || r.Request.Status != 200 || len(r.Request.Incomplete) > 0 {
			t.Errorf("%s is told as %s", ids[id], r)
		}
	}
}

// TestSplitHead sends a head in two pieces, cut at every byte.
func TestSplitHead(t *testing.T) {
	s := plain(t, anyPython(t), "127.0.0.1")
	a := attach(t, s.PID)
	c := dial(t, s.Address)
	const head = "GET /split HTTP/1.1\r\nHost: split\r\n\r\n"
	for at := 1; at < len(head); at++ {
		c.send(t, head[:at])
		eventually(t, "the server has read the first piece", func() bool { return c.unread(t) == 0 })
		c.send(t, head[at:])
		c.answer(t, "GET")
	}
	for _, r := range a.exactly(t, len(head)-1) {
		if r.Endpoint != "/split" || r.Request.Host != "split" || r.Request.BytesIn != len(head) || r.Request.Status != 200 {
			t.Errorf("%s", r.raw)
		}
	}
}

// unread is how many bytes lie in the server's socket, from the kernel's table (proc_net_tcp in the kernel's docs).
func (c *Client) unread(t testing.TB) int64 {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	port := func(a net.Addr) int { return a.(*net.TCPAddr).Port }
	ends := fmt.Sprintf("0100007F:%04X 0100007F:%04X ", port(c.RemoteAddr()), port(c.LocalAddr()))
	_, row, found := strings.Cut(string(table), ends)
	if !found {
		t.Fatalf("no connection %s", ends)
	}
	queues := strings.Fields(row)[1]
	_, receive, _ := strings.Cut(queues, ":")
	n, err := strconv.ParseInt(receive, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLargeHead sends 60 KiB of headers, with the trace ID at the end.
func TestLargeHead(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		s := gunicorn(t, anyPython(t), "app", append(w.flags, "--limit-request-fields", "1000", "--limit-request-field_size", "0")...)
		a := attach(t, s.PID)
		var headers strings.Builder
		for i := 0; headers.Len() < 60<<10; i++ {
			fmt.Fprintf(&headers, "X-Header-%d: %s\r\n", i, strings.Repeat("v", 200))
		}
		const id = "0123456789abcdef0123456789abcdef"
		c := dial(t, s.Address)
		c.send(t, "GET /large?q HTTP/1.1\r\nHost: large\r\n"+headers.String()+"X-APM-TRACER: "+id+":5\r\n\r\n")
		if answer := c.answer(t, "GET"); answer.StatusCode != 200 {
			t.Fatal(answer.Status)
		}
		r := a.exactly(t, 1)[0]
		if r.Endpoint != "/large" || r.Apitrace.TraceID != id || r.Request.ClientTime != "5" || r.Request.BytesIn < headers.Len() {
			t.Errorf("%s", r.raw)
		}
	})
}

// TestContinue has the server ask for the body.
func TestContinue(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		s := gunicorn(t, anyPython(t), "app", w.flags...)
		a := attach(t, s.PID)
		c := dial(t, s.Address)
		head, _ := c.head("POST", "/echo", "Expect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n")
		c.send(t, head)
		if line, err := c.reader.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := c.reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		c.send(t, "body")
		if answer := c.answer(t, "POST"); answer.Text != "4" {
			t.Fatalf("the service read %q bytes", answer.Text)
		}
		r := a.exactly(t, 1)[0]
		if r.Request.Status != 200 || r.Request.BytesIn != len(head)+4 {
			t.Errorf("%s", r.raw)
		}
	})
}

// TestHTTP10 leaves out what HTTP/1.1 demands.
func TestHTTP10(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		s := gunicorn(t, anyPython(t), "app", w.flags...)
		a := attach(t, s.PID)
		c := dial(t, s.Address)
		c.send(t, "GET /stream/3 HTTP/1.0\r\n\r\n")
		if answer := c.answer(t, "GET"); !strings.HasSuffix(answer.Text, "part 2\n") {
			t.Fatal(answer.Text)
		}
		r := a.exactly(t, 1)[0]
		if r.Protocol != "HTTP/1.0" || r.Endpoint != "/stream/3" || r.Request.Status != 200 || r.Request.Host != "" {
			t.Errorf("%s", r.raw)
		}
	})
}

func TestIPv6(t *testing.T) {
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	listener.Close()
	s := plain(t, anyPython(t), "::1")
	a := attach(t, s.PID)
	s.get(t, "/six")
	r := a.exactly(t, 1)[0]
	if r.Services != s.Address || !strings.HasPrefix(r.Request.Client, "[::1]:") {
		t.Errorf("%s", r.raw)
	}
}

// TestHangUp has the client leave before and in the midst of an answer.
func TestHangUp(t *testing.T) {
	t.Run("before its request is read", hangUpUnread)

	for _, view := range []string{"/hold", "/hold-late"} {
		onEachWorker(t, func(t *testing.T, w worker) {
			s := gunicorn(t, anyPython(t), "app", w.flags...)
			a := attach(t, s.PID)
			gate := newGate(t)
			for _, reset := range []bool{false, true} {
				c := dial(t, s.Address)
				_, open := gate.held(c, view, "")
				if reset {
					c.Conn.(*net.TCPConn).SetLinger(0)
				}
				c.Close()
				open()
			}
			s.get(t, "/")
			records := a.exactly(t, 3)
			checkSums(t, records...)
			for _, r := range records {
				left := r.Endpoint == view
				if !left && r.Endpoint != "/" {
					t.Errorf("%s", r)
				}
				if left && view == "/hold-late" && !r.incomplete("client_closed") {
					t.Errorf("does not tell that the client left: %s", r)
				}
			}
		})
	}
}

// hangUpUnread has a client send a request and reset the connection while the only worker is at another's. The worker reads
// it and does its work all the same.
func hangUpUnread(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	a := attach(t, s.PID)
	gate := newGate(t)
	_, open := gate.held(dial(t, s.Address), "/hold", "")
	left := dial(t, s.Address)
	head, id := left.head("GET", "/left", "")
	left.send(t, head)
	left.Conn.(*net.TCPConn).SetLinger(0)
	left.Close()
	open()
	s.get(t, "/")
	records := a.exactly(t, 3)
	checkSums(t, records...)
	if r := byID(t, records)[id]; r == nil || !r.incomplete("client_closed") || r.Services != s.Address {
		t.Errorf("the request of the client that left is told as %s", r)
	}
}

// TestMultipath has clients of Multipath TCP leave, whose sockets' ends nothing tells, and others come, which get those.
func TestMultipath(t *testing.T) {
	if enabled, _ := os.ReadFile("/proc/sys/net/mptcp/enabled"); strings.TrimSpace(string(enabled)) != "1" {
		t.Skip("no Multipath TCP here")
	}
	s := plain(t, anyPython(t), "127.0.0.1", "mptcp")
	a := attach(t, s.PID)
	dialer := net.Dialer{}
	dialer.SetMultipathTCP(true)
	client := func() *Client {
		c, err := dialer.Dial("tcp", s.Address)
		return newClient(t, c, err, s.Address)
	}
	const n = 30
	ids := map[string]string{}
	for range n {
		c := client()
		head, id := c.head("POST", "/left", "Expect: 100-continue\r\nContent-Length: 10\r\n")
		ids[id] = c.LocalAddr().String()
		c.send(t, head)
		if line, err := c.reader.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("%q, %v in place of 100 Continue", line, err)
		}
		if multi, err := c.Conn.(*net.TCPConn).MultipathTCP(); err != nil || !multi {
			t.Skip("the server does not take Multipath TCP: ", err)
		}
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	a.await(t, n)
	for range n {
		c := client()
		ids[c.do(t, "GET", "/stays", "Connection: close\r\n", "").ID] = c.LocalAddr().String()
		c.Close()
	}
	records := a.exactly(t, 2*n)
	checkSums(t, records...)
	for _, r := range records {
		left := r.Endpoint == "/left"
		if r.Request.Client != ids[r.Apitrace.TraceID] || r.incomplete("client_closed") != left || r.incomplete("no_response") != left {
			t.Errorf("%s from %s", r, r.Request.Client)
		}
	}
}
