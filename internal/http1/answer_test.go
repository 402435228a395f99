package http1

import (
	"strings"
	"testing"
)

// pieces splits text into events of n bytes each.
func pieces(make func(string) event, text string, n int) (events []event) {
	for len(text) > 0 {
		k := min(n, len(text))
		events = append(events, make(text[:k]))
		text = text[k:]
	}
	return events
}

func TestAnswers(t *testing.T) {
	head := "HEAD /h HTTP/1.1\r\n\r\n"
	table{
		{"head and body apart", []event{read(get), wrote(okHi), wrote("ok")}, []string{"GET /a 200 1,1,2,3@3"}},
		{"byte by byte", append([]event{read(get)}, pieces(wrote, ok2, 1)...), []string{"GET /a 200 1,1,2,41@41"}},
		{"lines apart", []event{read(get), wrote("HTTP/1.0 200 OK\r\n"), wrote("Date: x\r\nServer: y\r\n"), wrote("Content-Length: 2\r\n"), wrote("\r\n"), wrote("ok")},
			[]string{"GET /a 200 1,1,2,6@6"}},
		{"LF line ends, no reason", []event{read(get), wrote("HTTP/1.1 200\nContent-Length:2\n\nok")}, []string{"GET /a 200 1,1,2,2@2"}},
		{"no body", []event{read(get), wrote("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")}, []string{"GET /a 200 1,1,2,2@2"}},
		{"HEAD", []event{read(head), wrote(okHi), read(getB), wrote(ok2)}, []string{"HEAD /h 200 1,1,2,2@2", "GET /b 200 3,3,4,4@4"}},
		{"204", []event{read(get), wrote("HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n")}, []string{"GET /a 204 1,1,2,2@2"}},
		{"304", []event{read(get), wrote("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n")}, []string{"GET /a 304 1,1,2,2@2"}},
		{"interim answers", []event{read(get), wrote("HTTP/1.1 100 Continue\r\n\r\n"), wrote("HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 2"), wrote("04 No\r\n\r\n")},
			[]string{"GET /a 204 1,1,3,4@4"}},
		{"chunked", []event{read(get), wrote(chunk), wrote("2\r\nok\r\n"), wrote("0\r\n\r\n")}, []string{"GET /a 200 1,1,2,4@4"}},
		{"chunked with trailers", []event{read(get), wrote(chunk + "2;x\r\nok\r\n0\r\nA: b\r\n"), wrote("\r\n")}, []string{"GET /a 200 1,1,2,3@3"}},
		{"both framings", []event{read(get), wrote("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), wrote("2\r\nok\r\n"), wrote("0\r\n\r\n")},
			[]string{"GET /a 200 1,1,2,4@4"}},
		{"until close", []event{read(get), wrote(okEnd), wrote("a"), wrote("b"), closed(Closed)}, []string{"GET /a 200 1,1,2,4@5"}},
		{"until shutdown", []event{read(get), wrote(okEnd), wrote("a"), closed(Closed), read(getB)}, []string{"GET /a 200 1,1,2,3@4"}},
		{"101", []event{read(get), wrote("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81"), read(getB), wrote(ok2), closed(PeerGone)},
			[]string{"GET /a 101 1,1,2,2@2 upgraded"}},
		{"101 to h2c with a gap", []event{read("GET /a HTTP/1.1\r\nUpgrade: h2c\r\n\r\n"), wroteChunk(gap("HTTP/1.1 101 Switching\r\nA: ", 9, "\r\n\r\n")), closed(Closed)},
			[]string{"GET /a 101 1,1,2,2@2 upgraded"}},
		{"CONNECT", []event{read("CONNECT h:443 HTTP/1.1\r\n\r\n"), wrote(okEnd), read(getB), closed(Closed)}, []string{"CONNECT h:443 200 1,1,2,2@2 upgraded"}},
		{"CONNECT refused", []event{read("CONNECT h:443 HTTP/1.1\r\n\r\n"), wrote("HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"), read(getB), wrote(ok2)},
			[]string{"CONNECT h:443 405 1,1,2,2@2", "GET /b 200 3,3,4,4@4"}},
		{"more than promised", []event{read(get), wrote(ok2 + "excess"), wrote("excess"), read(getB), wrote("excess"), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@2", "GET /b 200 4,4,6,6@6"}},
		{"less than promised", []event{read(get), wrote(okHi), wrote("o"), read(getB), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,3@5", "GET /b 200 4,4,5,5@5"}},
		{"no HTTP", []event{read(get), wrote("hello"), closed(Closed)}, []string{"GET /a 0 1,1,0,3@3 no_response"}},
		{"two lengths", []event{read(get), wrote("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"), read(getB), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@3", "GET /b 200 3,3,4,4@4"}},
		{"empty line between", []event{read(get), wrote(ok2 + "\r\n"), read(getB), wrote("\r\n"), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@2", "GET /b 200 3,3,5,5@5"}},
		{"bad status", []event{read(get), wrote("HTTP/1.1 2x0 OK\r\n\r\n"), wrote(ok2)}, []string{"GET /a 200 1,1,3,3@3"}},
	}.run(t)
}

func TestEnds(t *testing.T) {
	table{
		{"no answer, closed", []event{read(get), closed(Closed)}, []string{"GET /a 0 1,1,0,2@2 no_response"}},
		{"no answer, peer gone", []event{read(get), closed(PeerGone)}, []string{"GET /a 0 1,1,0,2@2 no_response client_closed"}},
		{"no answer, write failed", []event{read(get), closed(WriteFailed)}, []string{"GET /a 0 1,1,0,2@2 no_response client_closed"}},
		{"no answer, exited", []event{read(get), closed(Exited)}, []string{"GET /a 0 1,1,0,2@2 no_response"}},
		{"interim answer only", []event{read(get), wrote("HTTP/1.1 100 Continue\r\n\r\n"), closed(Closed)}, []string{"GET /a 0 1,1,0,3@3 no_response"}},
		{"incomplete, closed", []event{read(get), wrote(okHi + "o"), closed(Closed)}, []string{"GET /a 200 1,1,2,2@3"}},
		{"incomplete, peer gone", []event{read(get), wrote(okHi + "o"), closed(PeerGone)}, []string{"GET /a 200 1,1,2,2@3 client_closed"}},
		{"until close, peer gone", []event{read(get), wrote(okEnd + "o"), closed(PeerGone)}, []string{"GET /a 200 1,1,2,2@3 client_closed"}},
		{"complete, peer gone", []event{read(get), wrote(ok2), closed(PeerGone)}, []string{"GET /a 200 1,1,2,2@2"}},
		{"shutdown, then a drain", []event{read(get), closed(Closed), read(getB)}, []string{"GET /a 0 1,1,0,2@2 no_response"}},
		{"shutdown after the answer", []event{read(get), wrote(ok2), closed(Closed), read(getB)}, []string{"GET /a 200 1,1,2,2@2"}},
		{"after the close", []event{closed(Closed), read(get), wrote(ok2), closed(Closed)}, nil},
	}.run(t)
}

func TestGapsInAnswers(t *testing.T) {
	longHead := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: "
	table{
		{"sized body", []event{read(get), wroteChunk(gap("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", 400, "")), wroteChunk(gap("x", 98, "y"))},
			[]string{"GET /a 200 1,1,2,3@3"}},
		{"sendfile", []event{read(get), wrote("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), wroteChunk(gap("", 500, ""))}, []string{"GET /a 200 1,1,2,3@3"}},
		{"chunk", []event{read(get), wrote(chunk), wroteChunk(gap("100\r\n", 256, "\r\n")), wrote("0\r\n\r\n")}, []string{"GET /a 200 1,1,2,4@4"}},
		{"chunk and its end", []event{read(get), wrote(chunk), wroteChunk(gap("100\r\n", 258, "0\r\n")), wrote("\r\n")}, []string{"GET /a 200 1,1,2,4@4"}},
		{"chunk header, ended by the last chunk", []event{read(get), wrote(chunk), wroteChunk(gap("100\r\n", 300, "abc\r\n")), wrote("1\r\nx\r\n"), wrote("0\r\n\r\n")},
			[]string{"GET /a 200 1,1,2,5@5"}},
		{"chunk header, last chunk in the same write", []event{read(get), wroteChunk(gap(chunk+"100\r\n", 300, "abc\r\n0\r\n\r\n"))}, []string{"GET /a 200 1,1,2,2@2"}},
		{"chunk header, data like a last chunk", []event{read(get), wroteChunk(gap(chunk+"100\r\n", 300, "10\r\n\r\n")), wrote("1\r\nx\r\n0\r\n\r\n")},
			[]string{"GET /a 200 1,1,2,3@3"}},
		{"chunk header, ended by the next head", []event{read(get), wroteChunk(gap(chunk+"100\r\n", 300, "abc")), wrote("d"), read(getB), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,3@4", "GET /b 200 4,4,5,5@5"}},
		{"chunk header, ended by the close", []event{read(get), wroteChunk(gap(chunk+"100\r\n", 300, "abc")), closed(PeerGone)}, []string{"GET /a 200 1,1,2,2@3"}},
		{"bad chunk header", []event{read(get), wrote(chunk + "zz\r\n"), wrote("x\r\n0\r\n\r\n")}, []string{"GET /a 200 1,1,2,3@3"}},
		{"head that ends with its write", []event{read(get), wroteChunk(gap(longHead, 5000, "\r\nA: b\r\n\r\n")), wrote("ok")}, []string{"GET /a 200 1,1,2,3@3"}},
		{"head of a chunked answer", []event{read(get), wroteChunk(gap("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: ", 5000, "\r\n\r\n")), wrote("2\r\nok\r\n0\r\n\r\n")},
			[]string{"GET /a 200 1,1,2,3@3"}},
		{"head without a body", []event{read("HEAD /h HTTP/1.1\r\n\r\n"), wroteChunk(gap(longHead, 5000, "\r\n\r\n"))}, []string{"HEAD /h 200 1,1,2,2@2"}},
		{"head and body in one write", []event{read(get), wroteChunk(gap(longHead, 5000, "ok")), read(getB), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@3", "GET /b 200 3,3,4,4@4"}},
		{"head of an upgrade", []event{read(get), wroteChunk(gap("HTTP/1.1 101 X\r\nA: ", 5000, "")), read(getB)}, []string{"GET /a 101 1,1,2,2@2 upgraded"}},
		{"head of an interim answer", []event{read(get), wroteChunk(gap("HTTP/1.1 103 X\r\nA: ", 5000, "\r\n\r\n")), wrote(ok2)}, []string{"GET /a 200 1,1,3,3@3"}},
		{"status", []event{read(get), wroteChunk(gap("", 99, "")), wrote("ok"), closed(Closed)}, []string{"GET /a 0 1,1,2,3@4"}},
		{"status of an interim answer", []event{read(get), wroteChunk(gap("", 25, "")), wrote(ok2)}, []string{"GET /a 200 1,1,2,3@3"}},
		{"lost, then a pipelined answer", []event{read(get + getB), wroteChunk(gap(chunk+"1\r\n", 300, "x")), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@3", "GET /b 200 1,1,3,3@3"}},
	}.run(t)
}

func TestGapsInHeads(t *testing.T) {
	table{
		{"request line", []event{readChunk(gap("GET /", 99, "\r\n\r\n")), read(getB), wrote(ok2)}, []string{"GET /b 200 2,2,3,3@3"}},
		{"headers", []event{readChunk(gap("GET /a HTTP/1.1\r\nA: b", 99, "\r\nContent-Length: 2\r\n\r\nxx")), read(getB), wrote(ok2 + ok2)},
			[]string{"GET /a 200 1,1,3,3@3 truncated", "GET /b 200 2,2,3,3@3"}},
		{"headers, end in a later read", []event{readChunk(gap("GET /a HTTP/1.1\r\nA: b", 99, "")), read("\r\n"), read("\r\n"), wrote(ok2)},
			[]string{"GET /a 200 1,3,4,4@4 truncated"}},
		{"headers and their end", []event{readChunk(gap("GET /a HTTP/1.1\r\nA: b", 99, "body")), wrote(ok2), read(getB), wrote(ok2)},
			[]string{"GET /b 200 3,3,4,4@4"}},
		{"between requests", []event{readChunk(gap(get, 99, "\r\n\r\n")), wrote(ok2), read(getB), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@2", "GET /b 200 3,3,4,4@4"}},
	}.run(t)
	var c Conn
	play(&c, readChunk(gap("GET /", 99, "")), readChunk(gap(get, 9, "")), wroteChunk(gap(chunk, 9, "")))
	if c.LostReads != 2 || c.LostWrites != 1 {
		t.Errorf("lost %d reads and %d writes, want 2 and 1", c.LostReads, c.LostWrites)
	}
}

// TestLostBody counts requests that may be in a gap behind a body, which those of a client that waits for answers are not.
func TestLostBody(t *testing.T) {
	const post = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3000\r\n"
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	var c Conn
	play(&c, readChunk(gap(post, 90_000, "xx")), wrote(ok), read(get), wrote(ok))
	if c.LostReads != 0 {
		t.Errorf("%d are lost of a client that waits", c.LostReads)
	}
	play(&c, readChunk(gap(post, 90_000, "xx")), wrote(ok), wrote(ok))
	if c.LostReads != 1 {
		t.Errorf("%d are lost of one that does not, want 1", c.LostReads)
	}
}

func TestLongHeads(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	text := strings.Repeat("M", 99) + " /" + long + " HTTP/1.1\r\nHost: " + long + "\r\nA" + long + ": b\r\n" +
		strings.Repeat("B: c\r\n", 9999) + "X-APM-TRACER: " + strings.Repeat("0", 32) + ":" + long + "\r\ntraceparent: " + long + "\r\n\r\n"
	for _, n := range []int{len(text), 1000, 37} {
		var c Conn
		var q *Request
		for rest := text; len(rest) > 0; rest = rest[min(n, len(rest)):] {
			if opened, _ := c.Read(1, whole(rest[:min(n, len(rest))])); len(opened) > 0 {
				q = opened[0]
			}
		}
		if q == nil {
			t.Fatalf("in pieces of %d: no request", n)
		}
		got := [...]int{len(q.Method), len(q.Target), len(q.Host), len(q.TraceID), len(q.ClientTime), len(q.Traceparent), int(q.BytesIn)}
		want := [...]int{bounds[FieldMethod], bounds[FieldTarget], bounds[FieldHost], 32, bounds[fieldTracer] - 33,
			bounds[fieldParent], len(text)}
		if got != want || !q.Truncated {
			t.Errorf("in pieces of %d: lengths %d, want %d; truncated %t", n, got, want, q.Truncated)
		}
		if line, head := cap(c.in.line.buf), cap(c.in.head.buf); line > 2*maxLine || head > maxIdleBuffer {
			t.Errorf("in pieces of %d: %d bytes of a line and %d of the head are kept", n, line, head)
		}
	}
}

func TestReset(t *testing.T) {
	c := new(Conn)
	for range 3 {
		got := play(c, read(get), wrote(okEnd), read("GET /x"), closed(Closed))
		if len(got) != 1 || got[0] != "GET /a 200 1,1,2,2@4" {
			t.Fatalf("got %q", got)
		}
		c.Reset()
	}
}
