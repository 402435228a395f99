// Package httpconn follows a connection of a server whatever version of HTTP is spoken on it.
package httpconn

import (
	"apm-ebpf/internal/http1"
	"apm-ebpf/internal/http2"
)

// Conn follows one connection. The zero value is ready, for one that was open before too. Of its methods the same is
// true as of those of http1.Conn and http2.Conn.
type Conn struct {
	one http1.Conn
	two *http2.Conn // once it is HTTP/2

	spoken bool // a request of HTTP/1 was seen
}

// Reset makes c ready for another connection. It keeps the buffers of HTTP/1.
func (c *Conn) Reset() {
	c.one.Reset()
	c.two, c.spoken = nil, false
}

// Use has c take the requests of HTTP/1 from a pool: see http1.Conn.
func (c *Conn) Use(p *http1.Pool) { c.one.Use(p) }

// Read takes what the server read. It returns the requests whose heads are complete now, and those that are known to
// have ended.
func (c *Conn) Read(ts uint64, ch http1.Chunk) (opened, ended []*http1.Request) {
	if c.two == nil && !c.spoken && http2.Begins(ch.Head) {
		c.two = http2.Midway()
	}
	if c.two != nil {
		return c.two.Read(ts, ch)
	}
	opened, ended = c.one.Read(ts, ch)
	c.spoken = c.spoken || len(opened) > 0
	if _, after, turned := c.one.HTTP2(); turned {
		c.two = http2.Prior()
		more, gone := c.two.Read(ts, ch.From(after))
		return append(opened, more...), append(ended, gone...)
	}
	return opened, ended
}

// Wrote takes what the server wrote. It returns the requests whose final answers have begun, and those whose answers
// are complete.
func (c *Conn) Wrote(ts uint64, ch http1.Chunk) (began, ended []*http1.Request) {
	if c.two != nil {
		return c.two.Wrote(ts, ch)
	}
	began, ended = c.one.Wrote(ts, ch)
	if first, after, turned := c.one.HTTP2(); turned {
		c.two = http2.Upgraded(first)
		more, done := c.two.Wrote(ts, ch.From(after))
		return append(began, more...), append(ended, done...)
	}
	return began, ended
}

// Missed takes that reads or writes were not told.
func (c *Conn) Missed() {
	if c.two != nil {
		c.two.Missed()
		return
	}
	c.one.Missed()
}

// Close takes the end of the connection, at which every request ends.
func (c *Conn) Close(ts uint64, why http1.CloseReason) (ended []*http1.Request) {
	if c.two != nil {
		return c.two.Close(ts, why)
	}
	return c.one.Close(ts, why)
}

// Idle tells that no request is open and none is being read.
func (c *Conn) Idle() bool {
	if c.two != nil {
		return c.two.Idle()
	}
	return c.one.Idle()
}

// Stream gives the open request of a stream of HTTP/2, or nil.
func (c *Conn) Stream(id uint32) *http1.Request {
	if c.two == nil {
		return nil
	}
	return c.two.Stream(id)
}

// LostReads is how many places there were from where on requests may have been missed.
func (c *Conn) LostReads() uint64 {
	if c.two == nil {
		return c.one.LostReads
	}
	return c.one.LostReads + c.two.LostReads
}
