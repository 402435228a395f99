package http2

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"apm-ebpf/internal/http1"

	"golang.org/x/net/http2/hpack"
)

// stretch is a part of one direction that belongs to an exchange: frames of which none but the last is complete
// before the end.
type stretch struct {
	lo, hi int
	x      *exchange
	what   part
}

type part uint8

const (
	partOther part = iota // frames that bear on no request
	partHead              // of the request, or of the final answer
	partMore              // interim answers, bodies, trailers of a request
	partReset
	partLast // ends the answer
	partOnly // is the final answer's head and ends it
)

// direction is what passes in one direction. Bytes that loose marks may be left out of a Chunk without losing framing.
type direction struct {
	peer  *peer
	data  []byte
	loose []bool
	parts []stretch
}

func (d *direction) add(x *exchange, what part, text string) {
	lo := len(d.data)
	d.data = append(d.data, text...)
	for range len(text) {
		d.loose = append(d.loose, false)
	}
	d.parts = append(d.parts, stretch{lo, len(d.data), x, what})
}

// addData adds a DATA frame.
func (d *direction) addData(r *rand.Rand, x *exchange, what part, flags uint8) {
	text := strings.Repeat(pick(r, "x", "DATA ", "GET / HTTP/1.1\r\n"), r.IntN(12)*r.IntN(200))
	size := len(text)
	if r.IntN(4) == 0 {
		flags |= flagPadded
		text = "\x03" + text + "\x00\x00\x00"
	}
	d.add(x, what, data(x.stream, flags, text))
	for i := len(d.loose) - size; i < len(d.loose); i++ {
		d.loose[i] = true
	}
}

// addFields adds a field block in one frame or more.
func (d *direction) addFields(r *rand.Rand, x *exchange, what part, flags uint8, fields []hpack.HeaderField) {
	d.peer.buf.Reset()
	if r.IntN(20) == 0 {
		d.peer.enc.SetMaxDynamicTableSize(uint32(r.IntN(2) * r.IntN(maxTable)))
	}
	for _, f := range fields {
		if err := d.peer.enc.WriteField(f); err != nil {
			panic(err)
		}
	}
	block := d.peer.buf.String()
	pad := 0
	if r.IntN(4) == 0 {
		pad = r.IntN(200)
	}
	before := ""
	if pad > 0 {
		flags |= flagPadded
		before = string([]byte{byte(pad)})
	}
	if r.IntN(4) == 0 {
		flags |= flagPriority
		before += "\x80\x00\x00\x03\x07"
	}
	n := len(block)
	if r.IntN(4) == 0 {
		n = r.IntN(n + 1)
	}
	if n == len(block) {
		flags |= flagEndHeaders
	}
	text := made(frameHeaders, flags, x.stream, before+block[:n]+strings.Repeat("\x00", pad))
	for more := block[n:]; flags&flagEndHeaders == 0; more = more[n:] {
		if n = r.IntN(len(more) + 1); n == len(more) {
			flags |= flagEndHeaders
		}
		text += made(frameContinuation, flags&flagEndHeaders, x.stream, more[:n])
	}
	d.add(x, what, text)
}

// addOther adds a frame that bears on no request.
func (d *direction) addOther(r *rand.Rand, stream uint32, server bool) {
	text := made(framePing, flagAck*uint8(r.IntN(2)), 0, "12345678")
	switch r.IntN(5) {
	case 0:
		text = settings + made(frameSettings, flagAck, 0, "")
	case 1:
		text = made(frameWindow, 0, stream, "\x00\x00\x10\x00")
	case 2:
		text = made(0xbe, 0x7f, 1<<31|99, "not known")
	case 3:
		text = made(framePriority, 0, stream, "\x00\x00\x00\x01\x01")
		if server {
			text = made(framePush, flagEndHeaders, stream, "\x00\x00\x00\x02"+d.peer.block(":method=GET", ":path=/pushed"))
		}
	}
	d.add(nil, partOther, text)
}

// exchange is a request, its answer, and what the parser has to tell of them.
type exchange struct {
	stream uint32
	want   http1.Request
	needs  int // end of the request's head, before which no answer can begin
	ended  bool
}

// script is all that passes on one connection.
type script struct {
	in, out   direction
	exchanges []*exchange
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func newScript(r *rand.Rand) *script {
	s := &script{in: direction{peer: newPeer()}, out: direction{peer: newPeer()}}
	s.in.peer.enc.SetMaxDynamicTableSizeLimit(maxTable)
	s.out.peer.enc.SetMaxDynamicTableSizeLimit(maxTable)
	s.in.add(nil, partOther, hello)
	s.out.add(nil, partOther, settings)
	var todo [][]func() // what is left of each side of each exchange, in order
	for i := range 1 + r.IntN(12) {
		x := &exchange{stream: uint32(2*i + 1 + 2*(i/3))}
		s.exchanges = append(s.exchanges, x)
		client, server := s.client(r, x), s.server(r, x)
		client[0]() // streams begin in order
		todo = append(todo, client[1:], server)
		for range r.IntN(12) {
			s.some(r, todo)
		}
	}
	for s.some(r, todo) {
	}
	return s
}

// some does the next thing of something that is left to do.
func (s *script) some(r *rand.Rand, todo [][]func()) (more bool) {
	first := r.IntN(len(todo))
	for i := range todo {
		if t := &todo[(first+i)%len(todo)]; len(*t) > 0 {
			(*t)[0]()
			*t = (*t)[1:]
			return true
		}
	}
	return false
}

// client gives what the client sends, in order.
func (s *script) client(r *rand.Rand, x *exchange) (steps []func()) {
	q := &x.want
	q.Proto = "HTTP/2.0"
	q.Method = pick(r, "GET", "GET", "POST", "PUT", "PURGE")
	q.Target = "/" + pick(r, "a", "b", strings.Repeat("long", 50), fmt.Sprint(r.Uint64()))
	q.Host = pick(r, "one", "one", "two:80")
	fields := []hpack.HeaderField{
		{Name: ":method", Value: q.Method}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: q.Target, Sensitive: r.IntN(4) == 0}, {Name: ":authority", Value: q.Host},
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	fields = append(fields, hpack.HeaderField{Name: "cookie", Value: strings.Repeat("\xfe", r.IntN(2)*r.IntN(3000)), Sensitive: r.IntN(4) == 0})
	if r.IntN(2) == 0 {
		q.TraceID, q.ClientTime = fmt.Sprintf("%032x", r.Uint64()), pick(r, "", "17")
		fields = append(fields, hpack.HeaderField{Name: "x-apm-tracer", Value: strings.TrimSuffix(q.TraceID+":"+q.ClientTime, ":")})
	}
	if r.IntN(2) == 0 {
		q.ParentTraceID = fmt.Sprintf("%032x", 1+r.Uint64N(3))
		q.Traceparent = "00-" + q.ParentTraceID + "-00000000000000ff-01"
		fields = append(fields, hpack.HeaderField{Name: "traceparent", Value: q.Traceparent})
	}
	steps = append(steps, func() {
		s.in.addFields(r, x, partHead, 0, fields)
		x.needs = len(s.in.data)
	})
	for range r.IntN(4) {
		steps = append(steps, func() { s.in.addOther(r, x.stream, false) }, func() { s.in.addData(r, x, partMore, 0) })
	}
	switch r.IntN(5) {
	case 0:
		steps = append(steps, func() { s.in.add(x, partReset, reset(x.stream)) })
	case 1:
		steps = append(steps, func() {
			s.in.addFields(r, x, partMore, flagEndStream, []hpack.HeaderField{{Name: "x-trailer", Value: "1"}})
		})
	default:
		steps = append(steps, func() { s.in.addData(r, x, partMore, flagEndStream) })
	}
	return steps
}

// server gives what the server sends, in order.
func (s *script) server(r *rand.Rand, x *exchange) (steps []func()) {
	head := func(what part, flags uint8, status string) func() {
		return func() {
			s.out.addFields(r, x, what, flags, []hpack.HeaderField{
				{Name: ":status", Value: status}, {Name: "date", Value: pick(r, "today", "tomorrow")}, {Name: "x-v", Value: fmt.Sprint(r.IntN(99))},
			})
		}
	}
	for range r.IntN(8) - 5 {
		steps = append(steps, head(partMore, 0, pick(r, "100", "103")))
	}
	status := 200 + r.IntN(400)/5
	x.want.Status = status
	only := r.IntN(5) == 0
	if only {
		return append(steps, head(partOnly, flagEndStream, fmt.Sprint(status)))
	}
	steps = append(steps, head(partHead, 0, fmt.Sprint(status)))
	for range r.IntN(4) {
		steps = append(steps, func() { s.out.addOther(r, x.stream, true) }, func() { s.out.addData(r, x, partMore, 0) })
	}
	switch r.IntN(4) {
	case 0:
		return append(steps, func() { s.out.add(x, partLast, reset(x.stream)) })
	case 1:
		return append(steps, func() {
			s.out.addFields(r, x, partLast, flagEndStream, []hpack.HeaderField{{Name: "grpc-status", Value: pick(r, "0", "13")}})
		})
	}
	return append(steps, func() { s.out.addData(r, x, partLast, flagEndStream) })
}
