package http1

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// stream is the bytes of one direction. Bytes that loose marks may be left out of a Chunk without losing framing.
type stream struct {
	data  []byte
	loose []bool
}

func (s *stream) add(text string, loose bool) {
	s.data = append(s.data, text...)
	for range len(text) {
		s.loose = append(s.loose, loose)
	}
}

// exchange is a request, its answer, and what the parser has to tell of them. Offsets are into the streams.
type exchange struct {
	want    Request
	in      int // first byte of the request
	inHead  int // end of its head
	inEnd   int
	out     int // first byte of the answer, interim ones included
	final   int // first byte of the final answer
	status  int // end of its status code
	outEnd  int
	expects bool
	open    bool // the answer ends with the connection
}

// script is all that passes on one connection.
type script struct {
	in, out   stream
	exchanges []*exchange
}

func newScript(r *rand.Rand) *script {
	s := new(script)
	for range 1 + r.IntN(6) {
		x := new(exchange)
		s.request(r, x)
		s.answer(r, x)
		s.exchanges = append(s.exchanges, x)
		if x.open || x.want.Upgraded {
			break
		}
	}
	return s
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func hex(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[r.IntN(16)]
	}
	return string(b)
}

func (s *script) request(r *rand.Rand, x *exchange) {
	q := &x.want
	eol := pick(r, "\r\n", "\r\n", "\n")
	if r.IntN(5) == 0 {
		s.in.add(eol, false)
	}
	x.in = len(s.in.data)
	q.Method = pick(r, "GET", "GET", "POST", "HEAD", "PUT", "M-SEARCH", "get", "x!#$%&'*+.^_`|~0")
	q.Target = "/" + strings.Repeat(pick(r, "a", "%20", "\xff", "é", "?b=c"), r.IntN(40))
	q.Proto = pick(r, "HTTP/1.1", "HTTP/1.0")
	fields := []string{"Accept: */*", "X-Long: " + strings.Repeat("v", r.IntN(9000)), " folded: line", "no colon"}
	if r.IntN(4) > 0 {
		q.Host = "host" + hex(r, 3) + ":80"
		fields = append(fields, pick(r, "Host", "HOST", "host")+":"+pick(r, "", " ", "\t ")+q.Host+pick(r, "", " "))
	}
	if r.IntN(2) == 0 {
		q.TraceID = pick(r, hex(r, 32), "6F1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10")
		q.ClientTime = pick(r, "", "1764000000", "1:2")
		value := q.TraceID
		if q.ClientTime != "" {
			value += ":" + q.ClientTime
		}
		fields = append(fields, "x-Apm-tracer: "+value)
	}
	if r.IntN(2) == 0 {
		q.ParentTraceID = "1" + hex(r, 31)
		q.Traceparent = "00-" + q.ParentTraceID + "-" + hex(r, 15) + "1-01"
		fields = append(fields, "TraceParent: "+q.Traceparent)
	}
	if r.IntN(6) == 0 {
		x.expects = true
		fields = append(fields, "Expect: 100-Continue")
	}
	body := s.body(r, &fields, true, x.expects)
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	s.in.add(q.Method+" "+q.Target+" "+q.Proto+eol+strings.Join(fields, eol)+eol+eol, false)
	x.inHead = len(s.in.data)
	s.in.append(body)
	x.inEnd = len(s.in.data)
}

func (s *stream) append(t stream) {
	s.data, s.loose = append(s.data, t.data...), append(s.loose, t.loose...)
}

// body makes a body and adds the headers that frame it.
func (s *script) body(r *rand.Rand, fields *[]string, request, plain bool) (b stream) {
	content := strings.Repeat(pick(r, "x", "0\r\n\r\n", "\r\n\r\n", "\x00\xff"), r.IntN(3000))
	if !plain && r.IntN(3) == 0 {
		content = "GET /in/body HTTP/1.1\r\nHost: h\r\n\r\n" + content
	}
	switch r.IntN(4) {
	case 0:
		if !request {
			*fields = append(*fields, "Content-Length: 0")
		}
	case 1:
		*fields = append(*fields, fmt.Sprintf("Content-Length: %d", len(content)))
		if r.IntN(4) == 0 {
			*fields = append(*fields, fmt.Sprintf("content-length:%05d, %d", len(content), len(content)))
		}
		b.add(content, true)
	default:
		*fields = append(*fields, pick(r, "Transfer-Encoding: chunked", "transfer-encoding:gzip, Chunked"))
		if r.IntN(4) == 0 {
			*fields = append(*fields, "Content-Length: 7")
		}
		for len(content) > 0 {
			n := min(len(content), 1+r.IntN(2000))
			b.add(fmt.Sprintf(pick(r, "%x", "%X", "0%x", "%x;a=b"), n)+"\r\n", false)
			b.add(content[:n]+"\r\n", true)
			content = content[n:]
		}
		b.add(pick(r, "0\r\n\r\n", "00;x\r\n\r\n", "0\r\nTrailer: x\r\nX: y\r\n\r\n"), false)
	}
	return b
}

func (s *script) answer(r *rand.Rand, x *exchange) {
	q := &x.want
	x.out = len(s.out.data)
	for range r.IntN(8) - 5 {
		code := pick(r, "100", "102", "103")
		s.out.add("HTTP/1.1 "+code+" Interim\r\nLink: x\r\n\r\n", false)
	}
	x.final = len(s.out.data)
	x.status = x.final + statusLen
	eol := pick(r, "\r\n", "\r\n", "\n")
	fields := []string{"Server: x", "Set-Cookie: " + strings.Repeat("c", r.IntN(5000))}
	end := func(b stream) {
		s.out.add(fmt.Sprintf("%s %d%s%s", q.Proto, q.Status, pick(r, " OK", "", " "), eol), false)
		s.out.add(strings.Join(fields, eol)+eol+eol, false)
		s.out.append(b)
		x.outEnd = len(s.out.data)
	}
	switch r.IntN(12) {
	case 0:
		q.Status, q.Upgraded = 101, true
		end(stream{})
		s.out.add("HTTP/1.1 200 opaque\r\n\r\n", false)
		s.in.add("GET /opaque HTTP/1.1\r\n\r\n", false)
	case 1:
		q.Status, x.open = 200, q.Method != "HEAD"
		var b stream
		if q.Method != "HEAD" {
			b.add(strings.Repeat("z", r.IntN(9000)), true)
		}
		end(b)
	case 2:
		q.Status = 204 + 100*r.IntN(2)
		s.body(r, &fields, false, false)
		end(stream{})
	default:
		q.Status = 200 + r.IntN(400)/5
		if q.Status == 204 {
			q.Status++
		}
		b := s.body(r, &fields, false, false)
		if q.Method == "HEAD" {
			b = stream{}
		}
		end(b)
	}
	q.BytesOut = int64(x.outEnd - x.out)
}
