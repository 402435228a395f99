package http2

import (
	"apm-ebpf/internal/http1"

	"golang.org/x/net/http2/hpack"
)

// The targets of open requests are kept up to maxTargets bytes together, beyond which each may have leastTarget.
const (
	maxTargets  = 8 << 20
	leastTarget = 1 << 10
)

// beginRead acts on the header of a frame that the server reads.
func (c *Conn) beginRead() {
	f := &c.in
	id := f.frame.stream
	switch f.frame.kind {
	case frameContinuation:
		return
	case frameHeaders:
		f.req = c.streams[id].req
		fresh := id%2 == 1 && id > c.last
		if fresh {
			c.last = id
			fresh = c.refused == 0 || id < c.refused
		}
		if fresh {
			c.request = &http1.Request{Proto: "HTTP/2.0", Start: f.start}
			c.head.Reset()
			f.req = c.request
		}
		if f.decoder.field == nil {
			f.decoder.field = c.requestField
		}
		f.decoder.begin(fresh)
	case framePush:
		f.req = nil
		f.decoder.begin(false)
	case frameData:
		f.req = c.streams[id].req
	default:
		f.req = nil
	}
}

// endRead acts on the end of a frame that the server read.
func (c *Conn) endRead(ts uint64) {
	f := &c.in
	switch id := f.frame.stream; {
	case f.frame.kind == frameReset:
		if s, open := c.streams[id]; open {
			s.req.ClientClosed = true
			c.finish(id, s, ts)
		}
	case f.frame.fields() && !f.inner && c.request != nil:
		c.open(id, ts)
	}
}

// requestField takes a field of the request's head.
func (c *Conn) requestField(f hpack.HeaderField) {
	switch f.Name {
	case ":method":
		c.head.Set(http1.FieldMethod, []byte(f.Value))
	case ":authority":
		c.head.Set(http1.FieldHost, []byte(f.Value))
	case ":path":
		room := max(leastTarget, maxTargets-c.targets)
		if len(f.Value) > room {
			f.Value, c.request.Truncated = f.Value[:room], true
		}
		c.head.Set(http1.FieldTarget, []byte(f.Value))
	default:
		c.head.Header([]byte(f.Name), []byte(f.Value))
	}
}

// open opens the request whose head was just read. One that says no method or target is malformed, and refused by
// the server (RFC 9113, 8.1.1), unless what it says is not known here.
func (c *Conn) open(id uint32, ts uint64) {
	q := c.request
	c.request, c.in.req = nil, nil
	q.HeadDone = ts
	q.Truncated = q.Truncated || !c.in.whole
	c.head.Fill(q)
	if q.Target == "" && q.Method == "CONNECT" {
		q.Target = q.Host
	}
	if c.in.whole && (q.Method == "" || q.Target == "") {
		return
	}
	if !c.makeRoom() {
		c.LostReads++
		return
	}
	c.add(id, q, ts)
	c.opened = append(c.opened, q)
}
