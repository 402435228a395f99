// Package http1 follows HTTP/1 on one connection of a server from outside: it is shown what the server read and
// wrote, in the order in which that happened, and tells which requests began and ended when (RFC 9112).
//
// Not every byte is shown: the middle of a large read or write is only counted. Bodies are therefore followed by
// arithmetic, and where a gap hides a head or the size of a chunk the framing is lost, counted, and found again at
// the next place where it cannot be mistaken.
package http1

// Chunk is the data of one read or write.
type Chunk struct {
	Head []byte // first bytes
	Tail []byte // last bytes that Head does not hold; empty when Head has them all
	Len  int    // bytes that passed, kept or not; nothing is learnt from a call that moved none
}

// Gap is the number of bytes between Head and Tail that were not kept.
func (ch Chunk) Gap() int64 {
	return int64(max(0, ch.Len-len(ch.Head)-len(ch.Tail)))
}

// From is ch without its first n bytes.
func (ch Chunk) From(n int) Chunk {
	head, tail := min(n, len(ch.Head)), max(0, n-(ch.Len-len(ch.Tail)))
	return Chunk{Head: ch.Head[head:], Tail: ch.Tail[min(tail, len(ch.Tail)):], Len: ch.Len - n}
}

// CloseReason tells how a connection ended.
type CloseReason uint8

const (
	Closed      CloseReason = iota // the server closed it
	PeerGone                       // the client reset it or hung up
	WriteFailed                    // a write failed for want of a client
	Exited                         // the process that served it ended
)

// gone tells whether it was the client that ended the connection.
func (why CloseReason) gone() bool { return why == PeerGone || why == WriteFailed }

// Conn follows one connection. The zero value is ready. Its methods must be called in the order of events, from one
// goroutine at a time; the slices that they return are valid until the next call. Timestamps are nanoseconds of
// CLOCK_MONOTONIC at the return of the call that they belong to. Nothing of a Chunk is kept by reference, and a
// Request is not touched any more once it was returned as ended.
type Conn struct {
	in   reader
	out  answer
	open queue
	past

	turned bool     // to HTTP/2 in this call,
	after  int      // of which so many bytes came before
	first  *Request // to be answered there

	opened, began, ended []*Request
}

// past is what has become of a connection so far.
type past struct {
	LostReads  uint64 // gaps in which a request or a part of its head may have been missed
	LostWrites uint64 // answers whose framing was lost, in a gap or because it contradicts itself

	prevEnd uint64
	opaque  bool // no HTTP/1 any more: upgraded, HTTP/2 or over
	missed  bool // the answer to the oldest open request may have passed unseen
}

// Reset makes c ready for another connection. It keeps its buffers.
func (c *Conn) Reset() {
	c.forget()
	c.in.reset()
	c.out.reset()
	c.open.reset()
	c.past = past{}
}

// Use has c take the requests to come from a pool. They may be put there once they have ended and the slice that they
// were returned in is read.
func (c *Conn) Use(p *Pool) { c.in.pool = p }

// Idle tells that no request is open and none is being read.
func (c *Conn) Idle() bool {
	if c.open.len() > 0 {
		return false
	}
	between := c.in.state == readBetween || c.in.state == readBody || c.in.state == readSkip
	return between || c.opaque
}

// Read takes what the server read. It returns the requests whose heads are complete now, and those whose answers
// are known to have ended because another request follows them.
func (c *Conn) Read(ts uint64, ch Chunk) (opened, ended []*Request) {
	c.forget()
	if c.opaque || ch.Len <= 0 {
		return nil, nil
	}
	c.in.beginRead(ch.Head)
	c.readBytes(ts, ch.Head)
	c.readGap(ch.Gap())
	c.readBytes(ts, ch.Tail)
	return c.opened, c.ended
}

// Wrote takes what the server wrote. It returns the requests whose final answers have begun, which is known once the
// status code is, and those whose answers are complete.
func (c *Conn) Wrote(ts uint64, ch Chunk) (began, ended []*Request) {
	c.forget()
	if c.opaque || ch.Len <= 0 {
		return nil, nil
	}
	if c.open.len() == 0 {
		if c.in.answered() {
			c.LostReads++
		}
		return nil, nil
	}
	c.beginWrite(ch.Head)
	c.writeBytes(ts, ch.Head)
	c.writeGap(ts, ch.Gap())
	c.writeBytes(ts, ch.Tail)
	c.endWrite(ts, ch)
	return c.began, c.ended
}

// Missed takes that reads or writes were not told, it is not known which. A request that was open then and whose
// answer is not seen ends, without a status, where another one begins.
func (c *Conn) Missed() {
	c.in.miss()
	q := c.open.front()
	switch {
	case q == nil:
	case !q.begun:
		c.missed, c.out.state = true, answerSkip
	case c.out.state != answerLost:
		c.lose(false)
	default:
		c.out.ending.reset()
	}
}

// Close takes the end of the connection, or that the server has shut its side down, at which every request ends: one that
// was never answered there, one whose answer had begun at its last write.
func (c *Conn) Close(ts uint64, why CloseReason) (ended []*Request) {
	c.forget()
	c.opaque = true
	c.endAll(ts, why.gone())
	return c.ended
}

// forget lets go of what the call before returned.
func (c *Conn) forget() {
	clear(c.opened)
	clear(c.began)
	clear(c.ended)
	c.opened, c.began, c.ended = c.opened[:0], c.began[:0], c.ended[:0]
	c.turned, c.after, c.first = false, 0, nil
}

// endAll ends every open request when the server can write no more.
func (c *Conn) endAll(ts uint64, gone bool) {
	for c.open.len() > 0 {
		q := c.open.front()
		if !q.begun {
			q.NoResponse, q.ClientClosed = !c.missed, gone
			c.finish(ts)
			continue
		}
		// Where framing was lost the answer may well have been complete before the client left.
		q.ClientClosed = gone && c.out.state != answerLost
		c.finish(c.out.last)
	}
}

// finish ends the oldest open request.
func (c *Conn) finish(end uint64) {
	q := c.open.pop()
	q.End = end
	c.prevEnd = end
	if next := c.open.front(); next != nil {
		next.PrevEnd = end
	}
	c.missed = false
	c.in.release(q)
	c.out.reset()
	c.ended = append(c.ended, q)
}
