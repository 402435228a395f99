// Package http2 follows HTTP/2 on one connection of a server from outside: it is shown what the server read and
// wrote, in the order in which that happened, and tells which requests began and ended when (RFC 9113).
//
// Not every byte is shown: the middle of a large read or write is only counted. Frames are followed by their
// lengths, and where a gap hides the beginning of one the framing is lost, counted, and found again where this call
// ends with frames, or a later one begins or ends with some. From then on the compression state is unknown, too:
// fields that refer to what passed unseen are missing, others are right.
//
// A request ends with the write that ends its stream or resets it, with the read of the client's reset, or with the
// connection. The bytes of a request are those of its HEADERS, CONTINUATION and DATA frames, as they pass:
// compressed, with padding and frame headers.
package http2

import (
	"slices"

	"apm-ebpf/internal/http1"
)

// What a client begins with (RFC 9113, 3.4): first what HTTP/1 takes for a request, so that it is refused there.
const (
	prefaceHead = "PRI * HTTP/2.0\r\n\r\n"
	preface     = prefaceHead + "SM\r\n\r\n"
)

// Conn follows one connection. The zero value is one that begins with the client's preface. Its methods must be
// called in the order of events, from one goroutine at a time; the slices that they return are valid until the next
// call. Timestamps are nanoseconds of CLOCK_MONOTONIC at the return of the call that they belong to. Nothing of a
// Chunk is kept by reference, and a Request is not touched any more once it was returned as ended. A Conn must not
// be copied.
type Conn struct {
	LostReads  uint64 // places from where on requests may have been missed, and requests beyond maxOpen
	LostWrites uint64 // places from where on answers may have been missed

	in, out flow
	greeted int // bytes of the preface
	over    bool

	head    http1.Head
	request *http1.Request // whose head is being read
	status  int            // in the head of the answer that is being written, 0: not known

	streams map[uint32]stream // open requests
	last    uint32            // latest stream that the client began
	refused uint32            // first stream that the server will not serve, 0: none
	targets int               // bytes of the open requests' targets
	doubt   doubt

	ids                  []uint32
	opened, began, ended []*http1.Request
}

// Midway gives a Conn for a connection the beginning of which was not seen.
func Midway() *Conn {
	c := &Conn{greeted: len(preface)}
	c.in.lose()
	c.out.lose()
	return c
}

// Prior gives a Conn for a connection of which the part of the client's preface was read that is like a request of
// HTTP/1.
func Prior() *Conn { return &Conn{greeted: len(prefaceHead)} }

// Upgraded gives a Conn for a connection that has left HTTP/1 with the answer to q, which is answered as the first
// stream (RFC 7540, 3.2).
func Upgraded(q *http1.Request) *Conn {
	c := &Conn{last: 1}
	c.add(1, q, q.HeadDone)
	return c
}

// Reset makes c ready for another connection.
func (c *Conn) Reset() {
	c.forget()
	clear(c.streams)
	*c = Conn{streams: c.streams, ids: c.ids, opened: c.opened, began: c.began, ended: c.ended}
}

// Idle tells that no request is open and none is being read.
func (c *Conn) Idle() bool {
	return c.over || len(c.streams) == 0 && c.request == nil && (c.in.state != flowHeader || c.in.have == 0)
}

// Stream gives the open request of a stream, or nil.
func (c *Conn) Stream(id uint32) *http1.Request { return c.streams[id].req }

// Read takes what the server read. It returns the requests whose heads are complete now, and those that the client
// has reset.
func (c *Conn) Read(ts uint64, ch http1.Chunk) (opened, ended []*http1.Request) {
	c.forget()
	if c.over || ch.Len <= 0 {
		return nil, nil
	}
	c.examine(ts)
	if c.greeted < len(preface) {
		ch = c.greet(ts, ch)
	}
	c.follow(&c.in, ts, ch)
	return c.opened, c.ended
}

// Wrote takes what the server wrote. It returns the requests whose final answers have begun, which is known once the
// head of the answer is, and those whose answers are complete.
func (c *Conn) Wrote(ts uint64, ch http1.Chunk) (began, ended []*http1.Request) {
	c.forget()
	if c.over || ch.Len <= 0 {
		return nil, nil
	}
	c.examine(ts)
	c.follow(&c.out, ts, ch)
	return c.began, c.ended
}

// Missed takes that reads or writes were not told, it is not known which.
func (c *Conn) Missed() {
	c.in.lose()
	c.out.lose()
	c.request = nil
	c.doubt.missed = true
}

// Close takes the end of the connection, at which every request ends.
func (c *Conn) Close(ts uint64, why http1.CloseReason) (ended []*http1.Request) {
	c.forget()
	if c.over {
		return nil
	}
	c.examine(ts)
	c.over, c.request = true, nil
	for _, id := range c.sorted(0) {
		s := c.streams[id]
		if c.doubt.about(s) {
			c.giveUp(id, s)
			continue
		}
		s.req.ClientClosed = why == http1.PeerGone || why == http1.WriteFailed
		c.finish(id, s, ts)
	}
	return c.ended
}

// forget lets go of what the call before returned.
func (c *Conn) forget() {
	clear(c.opened)
	clear(c.began)
	clear(c.ended)
	c.opened, c.began, c.ended = c.opened[:0], c.began[:0], c.ended[:0]
}

// greet takes the client's preface off a read.
func (c *Conn) greet(ts uint64, ch http1.Chunk) http1.Chunk {
	n := min(len(ch.Head), len(preface)-c.greeted)
	if string(ch.Head[:n]) != preface[c.greeted:c.greeted+n] {
		c.greeted = len(preface)
		c.lose(&c.in, ts)
		return ch
	}
	c.greeted += n
	return ch.From(n)
}

// follow takes what passed in one direction.
func (c *Conn) follow(f *flow, ts uint64, ch http1.Chunk) {
	c.bytes(f, ts, c.find(f, ch.Head, true, len(ch.Head) == ch.Len))
	c.gap(f, ts, ch.Gap())
	c.bytes(f, ts, c.find(f, ch.Tail, false, true))
}

func (c *Conn) bytes(f *flow, ts uint64, p []byte) {
	for len(p) > 0 && f.state != flowLost {
		n, what := f.take(ts, p)
		p = p[n:]
		c.moved(f, ts, int64(n), what)
	}
}

func (c *Conn) gap(f *flow, ts uint64, n int64) {
	for n > 0 && f.state != flowLost {
		used, what := f.skip(n)
		n -= used
		c.moved(f, ts, used, what)
	}
}

// moved acts on n bytes and on what they brought.
func (c *Conn) moved(f *flow, ts uint64, n int64, what event) {
	in := f == &c.in
	if what == frameBegan {
		n = frameHeaderLen
		if in {
			c.beginRead()
		} else {
			c.beginWrite(ts)
		}
	}
	switch {
	case f.req == nil || what == framesLost || f.state == flowHeader && what == nothing:
	case in:
		f.req.BytesIn += n
	default:
		f.req.BytesOut += n
	}
	if what == frameBegan {
		what = f.progress() // it may be empty
	}
	switch {
	case what == framesLost:
		c.lose(f, ts)
	case what != frameEnded:
	case in:
		c.endRead(ts)
	default:
		c.endWrite(ts)
	}
}

// sorted gives the open streams above id, in order.
func (c *Conn) sorted(above uint32) []uint32 {
	c.ids = c.ids[:0]
	for id := range c.streams {
		if id > above {
			c.ids = append(c.ids, id)
		}
	}
	slices.Sort(c.ids)
	return c.ids
}
