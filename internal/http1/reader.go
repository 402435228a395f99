package http1

import "net/netip"

// reader follows the requests of one connection. It starts anew with each read after garbage, so it finds back where
// a read begins with a request line, and never in the middle of something else.
type reader struct {
	state   readState
	greeted bool // a first byte was seen: no PROXY header can come any more
	req     *Request
	pool    *Pool // nil: no request is used again
	body    body

	// Of the head being read:
	start   uint64
	cr      bool // of the request line's end
	size    int64
	head    Head
	packet  []byte         // of uWSGI's protocol
	client  netip.AddrPort // that it tells
	line    line
	framing framing
	expects bool // Expect: 100-continue
	h2c     bool // Upgrade: h2c
	gapped  bool // bytes of it were not kept

	// waits tells that the client may be waiting for 100 Continue before it sends the body. Once the final answer
	// came instead, the body may be left out (RFC 9110, 10.1.1).
	waits, optional bool

	// strays tells that the end of a body was in a gap. What follows is a request that is missed only if the client did not
	// wait for the answer, which is seen when there is another answer.
	strays bool
}

type readState uint8

const (
	readBetween readState = iota // before a request, where empty lines are skipped (RFC 9112, 2.2)
	readMethod
	readTarget
	readProto
	readFields
	readPacket // of uWSGI's protocol, in place of a head
	readBody
	readPreamble // a PROXY header
	readSkip     // the rest of this read is not understood
)

func (r *reader) reset() {
	r.beginHead(0)
	r.state, r.greeted, r.req, r.body = readBetween, false, nil, body{}
	r.waits, r.optional, r.strays = false, false, false
}

// beginRead prepares for a read that begins with p.
func (r *reader) beginRead(p []byte) {
	if r.state == readSkip && r.req == nil || (r.state == readSkip || r.optional) && beginsRequest(p) {
		r.state, r.req, r.strays = readBetween, nil, false
	}
	r.optional = false
	if !r.greeted && len(p) > 0 {
		r.greeted = true
		r.preamble(p)
	}
}

// feed takes bytes up to the end of a head or of p.
func (r *reader) feed(ts uint64, p []byte) (n int, head bool) {
	for n < len(p) && !head {
		var used int
		switch r.state {
		case readBetween:
			used = lineEnds(p[n:])
			if n+used < len(p) {
				r.beginHead(ts)
				if p[n+used] == 0 {
					r.state = readPacket
				}
			}
		case readBody:
			used = r.feedBody(p[n:])
		case readPreamble:
			used = r.feedPreamble(p[n:])
		case readSkip:
			r.count(int64(len(p) - n))
			return len(p), false
		default:
			used, head = r.feedHead(p[n:])
			r.size += int64(used)
		}
		n += used
	}
	return n, head
}

// skip takes n bytes that were not kept, and tells whether that lost the framing.
func (r *reader) skip(n int64) (lost bool) {
	switch r.state {
	case readFields:
		r.gapped = true
		r.size += n
		r.line.cut()
		return true
	case readSkip:
		r.count(n)
		return false
	case readBody, readPreamble:
		used, pr := r.body.skip(n)
		r.moved(used, pr)
		if pr == bodyLost || used == n {
			r.strays = pr == bodyLost
			return false
		}
	}
	r.state, r.req = readSkip, nil
	return true
}

func (r *reader) beginHead(ts uint64) {
	r.state = readMethod
	r.start, r.size, r.cr = ts, 0, false
	r.head.Reset()
	r.line.reset()
	r.framing = framing{}
	r.packet, r.client = nil, netip.AddrPort{}
	r.expects, r.h2c, r.gapped = false, false, false
}

func (r *reader) feedHead(p []byte) (n int, head bool) {
	switch r.state {
	case readMethod:
		return r.method(p), false
	case readTarget:
		return r.target(p), false
	case readProto:
		return r.proto(p), false
	case readPacket:
		return r.packetPart(p)
	}
	return r.fields(p)
}

// beginBody prepares for the body of q, whose head was just read.
func (r *reader) beginBody(q *Request) {
	r.req, r.state = q, readBody
	r.waits = r.expects
	switch r.framing.extent() {
	case extentChunked:
		r.body = chunkedBody()
	case extentSized:
		r.body = sizedBody(r.framing.length)
		if r.framing.length == 0 {
			r.state = readBetween
		}
	case extentNone:
		r.state = readBetween
		if r.gapped {
			r.state = readSkip // the headers that frame a body may be in the gap
		}
	default:
		r.state = readSkip // no server can tell either (RFC 9112, 6.3)
	}
}

func (r *reader) feedBody(p []byte) (n int) {
	n, pr := r.body.feed(p)
	r.moved(int64(n), pr)
	return n
}

// moved acts on n bytes of the request's body and on what they did to it.
func (r *reader) moved(n int64, pr progress) {
	r.waits = false
	r.count(n)
	switch pr {
	case bodyDone:
		r.state, r.req = readBetween, nil
	case bodyLost:
		r.state = readSkip // what is read until the answer ends is still of this body
	}
}

// count adds n bytes to the request whose body is being read.
func (r *reader) count(n int64) {
	if r.req != nil {
		r.req.BytesIn += n
	}
}

// release lets go of q, which has ended. Its body may still come.
func (r *reader) release(q *Request) {
	if r.req == q {
		r.req = nil
		r.optional = r.waits && r.state == readBody
	}
}

// continued takes note of an interim 100 answer to q.
func (r *reader) continued(q *Request) {
	if r.req == q {
		r.waits = false
	}
}

// miss takes note that reads were not told.
func (r *reader) miss() {
	r.state, r.req, r.optional = readSkip, nil, false
}

// answered takes note of an answer while no request is open, and tells whether its request was missed behind a body. If a
// head was being read whose middle is missing, its end is missing too.
func (r *reader) answered() (lost bool) {
	if r.state == readFields && r.gapped {
		r.state = readSkip
	}
	lost, r.strays = r.strays, false
	return lost
}

// readBytes takes bytes that the server read.
func (c *Conn) readBytes(ts uint64, p []byte) {
	for len(p) > 0 && !c.opaque {
		n, head := c.in.feed(ts, p)
		p = p[n:]
		c.after += n
		if head {
			c.openRequest(ts)
		}
	}
}

// readGap takes n bytes that the server read and that were not kept.
func (c *Conn) readGap(n int64) {
	if n <= 0 || c.opaque {
		return
	}
	c.after += int(n)
	if c.in.skip(n) {
		c.LostReads++
	}
}

// turn ends the oldest open request where the end of its answer cannot be seen: the server reads the next one.
func (c *Conn) turn() {
	switch q := c.open.front(); {
	case q == nil:
	case q.begun && c.out.state == answerLost:
		c.finish(c.out.last)
	case c.missed:
		c.finish(c.in.start)
	}
}

// openRequest opens the request whose head was just read.
func (c *Conn) openRequest(ts uint64) {
	if c.open.len() == 0 && c.in.head.preface() {
		c.opaque, c.turned = true, true // HTTP/2 with prior knowledge (RFC 9113, 3.3)
		return
	}
	c.turn()
	q := c.in.request()
	q.HeadDone = ts
	if c.open.len() == 0 {
		q.PrevEnd = c.prevEnd
	}
	c.open.push(q)
	c.opened = append(c.opened, q)
	c.in.beginBody(q)
}
