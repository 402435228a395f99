package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// throw sends bytes on a connection of its own and leaves once the server has nothing more to say, or at once.
func throw(t testing.TB, address string, data []byte, wait bool) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(data) // the server may have had enough of it
	if wait {
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	}
}

// clientHello is how TLS begins.
func clientHello(t testing.TB) []byte {
	t.Helper()
	client, server := net.Pipe()
	go tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake()
	hello := make([]byte, 4096)
	n, err := server.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	return hello[:n]
}

// TestGarbage sends what is no request, among requests.
func TestGarbage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	garbage := [][]byte{
		clientHello(t),
		noise,
		noise[:100],
		[]byte("\r\n\r\n\r\n"),
		[]byte("GET / HTTP/1.1\r\nHost: half"),
		[]byte("GET "),
		[]byte("GET / HTTP/1.1\r\n"),
		[]byte("GET /\r\n\r\n"),
		[]byte("get the door\r\n\r\n"),
		[]byte("SSH-2.0-OpenSSH_9.6\r\n"),
		[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		[]byte("*1\r\n$4\r\nPING\r\n"),
		bytes.Repeat([]byte("A"), 200_000),
		bytes.Repeat([]byte{0}, 10_000),
	}
	onEachWorker(t, func(t *testing.T, w worker) {
		s := gunicorn(t, anyPython(t), "app", w.flags...)
		a := attach(t, s.PID)
		ids := map[string]bool{}
		for i, data := range garbage {
			throw(t, s.Address, data, i%2 == 0)
			throw(t, s.Address, data, i%2 == 1)
			ids[s.get(t, "/").ID] = true
		}
		for id, r := range byID(t, a.exactly(t, len(ids))) {
			if !ids[id] || r.Endpoint != "/" || r.Request.Status != 200 {
				t.Errorf("%s", r.raw)
			}
		}
	})
}

// TestOddHeads has values that are hard to put into JSON, or that look like what the agent looks for.
func TestOddHeads(t *testing.T) {
	const id = "01234567-89ab-cdef-0123-456789abcdef"
	tests := []struct {
		head string
		want func(r *Record) bool
	}{
		{"GET /a\"b\\c HTTP/1.1\r\nHost: \"quoted\\\"\r\n", func(r *Record) bool { return r.Endpoint == `/a"b\c` && r.Request.Host == `"quoted\"` }},
		{"GET /%00%01%7f%ff%22 HTTP/1.1\r\nHost: h\r\n", func(r *Record) bool { return r.Endpoint == "/\x00\x01\x7f\ufffd\"" }},
		{"GET /\xff\xfe HTTP/1.1\r\nHost: \xc3\x28\r\n", func(r *Record) bool { return r.Endpoint == "/\ufffd\ufffd" }},
		{"GET /%zz%4 HTTP/1.1\r\nHost: h\r\n", func(r *Record) bool { return r.Endpoint == "/%zz%4" }},
		{"GET http://other.example:81/absolute?q HTTP/1.1\r\nHost: h\r\n", func(r *Record) bool { return r.Endpoint == "/absolute" }},
		{"GET / HTTP/1.1\r\nHost: h\r\nX-APM-TRACER: " + id + ":not a time \"\\\x01\r\n", func(r *Record) bool { return r.Apitrace.TraceID == id }},
		{"GET / HTTP/1.1\r\nHost: h\r\nX-APM-TRACER: " + id + "\r\n", func(r *Record) bool { return r.Apitrace.TraceID == id && r.Request.ClientTime == "" }},
		{"GET / HTTP/1.1\r\nHost: h\r\nX-APM-TRACER: " + id + ":\r\n", func(r *Record) bool { return r.Apitrace.TraceID == id }},
		{"GET / HTTP/1.1\r\nHost: h\r\nx-apm-tracer:" + id + ":1:2:3\r\n", func(r *Record) bool { return r.Apitrace.TraceID == id && r.Request.ClientTime == "1:2:3" }},
		{"GET / HTTP/1.1\r\nHost: h\r\nX-APM-TRACER: nonsense:5\r\nX-APM-TRACER: " + id + ":6\r\n", func(r *Record) bool { return r.Apitrace.TraceID == id && r.Request.ClientTime == "6" }},
		{"GET / HTTP/1.1\r\nHost: h\r\nX-APM-TRACER: ../../etc/passwd:5\r\n", func(r *Record) bool { return len(r.Apitrace.TraceID) == 36 }},
		{"GET / HTTP/1.1\r\nHost: h\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n", func(r *Record) bool {
			return r.Apitrace.TraceID == "0af7651916cd43dd8448eb211c80319c" && strings.Contains(r.raw, `"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"`)
		}},
		{"BREW /pot HTTP/1.1\r\nHost: h\r\n", func(r *Record) bool { return r.Request.Method == "BREW" }},
		{"GET / HTTP/1.1\r\nHost: h\r\nno colon here\r\n", func(r *Record) bool { return r.Request.Status >= 400 }},
		{"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n", func(r *Record) bool { return r.Request.Status >= 400 }},
	}
	s := gunicorn(t, anyPython(t), "app")
	a := attach(t, s.PID)
	for _, test := range tests {
		throw(t, s.Address, []byte(test.head+"Connection: close\r\n\r\n"), true)
	}
	for i, r := range a.exactly(t, len(tests)) {
		if !tests[i].want(r) {
			t.Errorf("%q is told as %s", tests[i].head, r.raw)
		}
	}
}

// TestManyConnections opens 200 at once, each with a request, which must all be answered and told.
func TestManyConnections(t *testing.T) {
	s := plain(t, anyPython(t), "127.0.0.1")
	a := attach(t, s.PID)
	const n = 200
	clients := make([]*Client, n)
	for i := range clients {
		clients[i] = dial(t, s.Address)
	}
	var wait sync.WaitGroup
	for _, c := range clients {
		wait.Go(func() {
			for i := range 3 {
				if answer := c.do(t, "GET", fmt.Sprint("/", i), "", ""); answer.StatusCode != 200 {
					t.Error(answer.Status)
				}
			}
		})
	}
	wait.Wait()
	records := a.exactly(t, 3*n)
	checkSums(t, records...)
	byID(t, records)
}

// TestResetStorm has clients reset their connections right after a whole head, half of one, or nothing.
func TestResetStorm(t *testing.T) {
	s := plain(t, anyPython(t), "127.0.0.1")
	a := attach(t, s.PID)
	const n = 300
	told := map[string]bool{}
	var lock sync.Mutex
	var wait sync.WaitGroup
	for k := range 4 {
		wait.Go(func() {
			for i := range n / 4 {
				c := dial(t, s.Address)
				head, id := c.head("GET", "/storm", "")
				switch (i + k) % 3 {
				case 0:
					c.send(t, head[:len(head)/2])
				case 1:
					c.send(t, head)
					lock.Lock()
					told[id] = false // the reset may overtake the head
					lock.Unlock()
				}
				c.Conn.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		})
	}
	wait.Wait()
	last := s.get(t, "/last").ID
	eventually(t, "the last request is told", func() bool { return byID(t, a.records(t))[last] != nil })
	for id, r := range byID(t, a.stop(t)) {
		if _, known := told[id]; !known && id != last {
			t.Errorf("nobody sent %s", r.raw)
		}
	}
}
