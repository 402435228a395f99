package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framesConn is a connection of HTTP/2 whose frames are the test's own.
type framesConn struct {
	*http2.Framer
	t       *testing.T
	block   bytes.Buffer
	encoder *hpack.Encoder
	next    uint32
}

func dialStreams(t *testing.T, s *Service) *framesConn {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	return beginStreams(t, conn, conn)
}

// beginStreams begins HTTP/2 on a connection, to which its frames are written by way of w.
func beginStreams(t *testing.T, conn net.Conn, w io.Writer) *framesConn {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(w, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &framesConn{Framer: http2.NewFramer(w, conn), t: t, next: 1}
	c.encoder = hpack.NewEncoder(&c.block)
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.must(c.WriteSettings())
	return c
}

func (c *framesConn) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a request without a body, and gives its stream.
func (c *framesConn) ask(path, id string, more ...hpack.HeaderField) (stream uint32) {
	c.t.Helper()
	return c.head("GET", path, id, true, more...)
}

// call sends a call of gRPC with a message of its own kind, google.protobuf.StringValue.
func (c *framesConn) call(path, id, message string) (stream uint32) {
	c.t.Helper()
	stream = c.head("POST", path, id, false,
		hpack.HeaderField{Name: "content-type", Value: "application/grpc"}, hpack.HeaderField{Name: "te", Value: "trailers"})
	value := append([]byte{0x0a, byte(len(message))}, message...)
	c.must(c.WriteData(stream, true, append([]byte{0, 0, 0, 0, byte(len(value))}, value...)))
	return stream
}

// head sends a request's head, in as many frames as it takes.
func (c *framesConn) head(method, path, id string, ends bool, more ...hpack.HeaderField) (stream uint32) {
	c.t.Helper()
	c.block.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":path", Value: path}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "shop.example"}, {Name: "x-apm-tracer", Value: id + ":1700000000"},
	}, more...) {
		c.must(c.encoder.WriteField(f))
	}
	stream, c.next = c.next, c.next+2
	const frame = 16 << 10
	for i, part := range slices.Collect(slices.Chunk(c.block.Bytes(), frame)) {
		last := (i+1)*frame >= c.block.Len()
		if i == 0 {
			c.must(c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: part, EndStream: ends, EndHeaders: last}))
		} else {
			c.must(c.WriteContinuation(stream, last, part))
		}
	}
	return stream
}

// answer reads frames until a stream has ended.
func (c *framesConn) answer(stream uint32) {
	c.t.Helper()
	for {
		frame, err := c.ReadFrame()
		c.must(err)
		switch h := frame.Header(); {
		case h.StreamID != stream:
		case h.Type == http2.FrameRSTStream:
			c.t.Fatalf("the server resets stream %d: %v", stream, frame)
		case (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(http2.FlagDataEndStream):
			return
		}
	}
}

// TestGoHTTP2Frames has clients that use all of HTTP/2: heads in several frames, streams that are reset, an end that is
// announced, and heads that refer to what was sent before the agent came, which must not be told wrong.
func TestGoHTTP2Frames(t *testing.T) {
	prepared(t)
	s := goServiceTLS(t, goBuilds[1])
	old := dialStreams(t, s)
	old.answer(old.ask("/doze", uuid.NewString()))
	a := attach(t, s.PID)
	old.answer(old.ask("/doze", uuid.NewString())) // its path is a number by now
	old.answer(old.ask("/receive", uuid.NewString()))
	old.answer(old.ask("/receive", uuid.NewString()))
	records := a.await(t, 3)
	for i, want := range []string{"", "/receive", "/receive"} {
		if r := records[i]; r.Endpoint != want || r.Request.Method != "GET" || r.Request.Status != 200 || r.Request.Host != "" {
			t.Errorf("%q on a connection that is older than the agent is told as %s", want, r.raw)
		}
	}
	c := dialStreams(t, s)
	want := map[string]string{}
	ask := func(what, path string, more ...hpack.HeaderField) (stream uint32) {
		id := uuid.NewString()
		want[id] = what
		return c.ask(path, id, more...)
	}
	c.answer(ask("GET /doze 200 []", "/doze", hpack.HeaderField{Name: "x-long", Value: strings.Repeat("long", 10<<10)}))
	reset := ask("GET /abandoned 0 [no_response client_closed]", "/abandoned")
	beside := ask("GET /own/1 200 []", "/own/1")
	c.answer(beside)
	c.must(c.WriteRSTStream(reset, http2.ErrCodeCancel))
	c.answer(ask("GET /doze 200 []", "/doze"))
	last := ask("GET /receive 200 []", "/receive")
	c.must(c.WriteGoAway(0, http2.ErrCodeNo, nil))
	c.answer(last)
	for id, r := range byID(t, a.exactly(t, 3+len(want))[3:]) {
		precise(r)
		if got := fmt.Sprintf("%s %s %d %v", r.Request.Method, r.Endpoint, r.Request.Status, r.Request.Incomplete); got != want[id] {
			t.Errorf("%s is told as %s", want[id], got)
		}
		function := strings.TrimPrefix(r.Endpoint, "/")
		if tree := r.tree(t); (function == "doze" || function == "receive") && tree.find(function) == nil {
			t.Errorf("no %s: %s\n%s", function, r, tree)
		}
	}
}

// TestHTTP2SampleRate has one in three requests sampled, of streams that come one after another and of those that overlap.
func TestHTTP2SampleRate(t *testing.T) {
	prepared(t)
	s := goServiceTLS(t, goBuilds[1])
	a := attach(t, s.PID, "--sample-rate", "3")
	c := dialStreams(t, s)
	const n = 30
	for range n {
		c.answer(c.ask("/doze", uuid.NewString()))
	}
	oneInThree(t, a.await(t, n))
	var last uint32
	for range n {
		last = c.ask("/doze", uuid.NewString())
	}
	c.answer(last)
	sampled := 0
	for _, r := range a.exactly(t, 2*n)[n:] {
		if r.sampled() {
			sampled++
		}
	}
	if sampled != n/3 {
		t.Errorf("%d of %d requests that overlap have trees", sampled, n)
	}
}

// TestHTTP2ReadAnywhere has a server read a long row of calls from the midst of a message's frame on, from each of its
// bytes. Some of them look as if a frame began there that has no call in it, and some calls are cancelled in the very read
// that brings them.
func TestHTTP2ReadAnywhere(t *testing.T) {
	prepared(t)
	const before, after = 20, 80
	const frame = 25 // bytes of a message's, eleven of them its own
	s := startGo(t, goFrameworks(t, goModules[0]), "grpc")
	a := attach(t, s.PID)
	want := 0
	for cut := range frame {
		conn, err := net.Dial("tcp", s.Address)
		if err != nil {
			t.Fatal(err)
		}
		var row bytes.Buffer
		c := beginStreams(t, conn, &row)
		send := func(n int) {
			_, err := conn.Write(row.Next(n))
			c.must(err)
		}
		first := c.call("/own.Own/none", uuid.NewString(), "012345678")
		for range before {
			c.call("/own.Own/none", uuid.NewString(), "012345678")
		}
		send(row.Len() - frame + cut)
		c.answer(first) // so that the server has read it
		for range after {
			first = c.call("/own.Own/none", uuid.NewString(), "012345678")
		}
		c.must(c.WriteRSTStream(c.call("/own.Own/none", uuid.NewString(), "012345678"), http2.ErrCodeCancel))
		send(row.Len())
		c.answer(first)
		want += 1 + before + after + 1
	}
	byID(t, a.exactly(t, want))
}
