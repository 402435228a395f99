package http2

import (
	"strconv"

	"apm-ebpf/internal/http1"

	"golang.org/x/net/http2/hpack"
)

// beginWrite acts on the header of a frame that the server writes.
func (c *Conn) beginWrite(ts uint64) {
	f := &c.out
	if f.frame.kind == frameContinuation {
		return
	}
	f.req = nil
	id := f.frame.stream
	s, open := c.streams[id]
	switch f.frame.kind {
	case frameHeaders:
		c.status = 0
		if f.decoder.field == nil {
			f.decoder.field = c.answerField
		}
		f.decoder.begin(open && s.req.Status == 0)
	case framePush:
		f.decoder.begin(false)
		return
	case frameData:
	default:
		return
	}
	if open {
		f.req = s.req
		c.touch(id, ts)
		if f.frame.kind == frameData {
			c.begin(s.req, 0, f.start)
		}
	}
}

// endWrite acts on the end of a frame that the server wrote.
func (c *Conn) endWrite(ts uint64) {
	f := &c.out
	id := f.frame.stream
	if f.frame.kind == frameGoAway {
		c.refuse(f.last, ts)
	}
	s, open := c.streams[id]
	switch {
	case !open:
	case f.frame.kind == frameReset, f.frame.kind == frameData && f.frame.ends():
		c.finish(id, s, ts)
	case f.frame.kind == frameData:
		c.touch(id, ts)
	case f.frame.fields() && !f.inner && f.block.kind == frameHeaders:
		c.answered(id, s, ts)
	}
}

// answerField takes a field of an answer's head.
func (c *Conn) answerField(f hpack.HeaderField) {
	if f.Name != ":status" || len(f.Value) != len("200") {
		return
	}
	if n, err := strconv.ParseUint(f.Value, 10, 16); err == nil {
		c.status = int(n)
	}
}

// answered acts on a complete field block of the answer to the request of a stream: interim, final, or trailers.
func (c *Conn) answered(id uint32, s stream, ts uint64) {
	q := s.req
	if c.status < 100 || c.status >= 200 {
		c.begin(q, c.status, c.out.since)
	}
	switch {
	case q.Method == "CONNECT" && q.Status >= 200 && q.Status < 300: // with RFC 8441 also for WebSocket
		q.Upgraded = true
		c.finish(id, s, ts)
	case c.out.block.ends():
		c.finish(id, s, ts)
	}
}

// begin takes note of the final answer's beginning. A status of 0 stands for one that was not seen.
func (c *Conn) begin(q *http1.Request, status int, ts uint64) {
	if q.Status == 0 {
		q.Status = status
	}
	if q.FirstWrite == 0 {
		q.FirstWrite = ts
		c.began = append(c.began, q)
	}
}

// refuse takes that the server goes away and will not serve the streams after last (RFC 9113, 6.8).
func (c *Conn) refuse(last uint32, ts uint64) {
	c.refused = last + 1
	for _, id := range c.sorted(last) {
		c.finish(id, c.streams[id], ts)
	}
}
