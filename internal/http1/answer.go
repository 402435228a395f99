package http1

import "bytes"

// answer follows the answer to the oldest open request.
type answer struct {
	state   answerState
	matched int    // bytes of the status line's beginning
	code    int    // status, as far as it was read
	since   uint64 // write that brought the first byte of the status line
	last    uint64 // last write
	line    line
	framing framing
	body    body
	inHead  bool // framing was lost in the head
	ending  ending
}

type answerState uint8

const (
	answerStatus answerState = iota // before or in a status line's beginning
	answerReason                    // in the rest of it
	answerFields
	answerBody
	answerLost // bytes belong to the answer, but its end is not known by framing
	answerSkip // the rest of this write is no answer
)

// statusLen is the length of a status line up to the code.
const statusLen = len("HTTP/1.1 200")

func (a *answer) reset() {
	a.line.reset()
	*a = answer{line: a.line}
}

// beginWrite prepares for a write that begins with p. A status line at the beginning of a write, where framing
// expects something else, belongs to the next request if the server had turned to it.
func (c *Conn) beginWrite(p []byte) {
	a := &c.out
	if a.state == answerSkip {
		a.state = answerStatus
	}
	if a.state != answerLost && a.state != answerBody || !beginsAnswer(p) {
		return
	}
	next := c.open.at(1)
	switch {
	case next != nil && (a.state == answerLost || next.Start > a.last):
		c.finish(a.last)
	case a.state == answerLost && c.open.front().Status == 0:
		a.state = answerStatus
	}
}

// writeBytes takes bytes that the server wrote.
func (c *Conn) writeBytes(ts uint64, p []byte) {
	for len(p) > 0 && c.open.len() > 0 {
		q := c.open.front()
		c.out.last = ts
		n := c.answerPart(q, ts, p)
		q.BytesOut += int64(n)
		p = p[n:]
		c.after += n
	}
}

// answerPart takes bytes of the answer to q, up to the end of a part of it.
func (c *Conn) answerPart(q *Request, ts uint64, p []byte) (n int) {
	a := &c.out
	switch a.state {
	case answerStatus:
		return c.status(q, ts, p)
	case answerReason:
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return len(p)
		}
		a.state = answerFields
		return i + 1
	case answerFields:
		n, head := a.fields(p)
		if head {
			c.endHead(q, ts)
		}
		return n
	case answerBody:
		n, pr := a.body.feed(p)
		c.bodyMoved(ts, pr)
		return n
	}
	return len(p)
}

// status takes bytes of a status line up to the code.
func (c *Conn) status(q *Request, ts uint64, p []byte) (n int) {
	a := &c.out
	if a.matched == 0 {
		if n = lineEnds(p); n == len(p) {
			return n
		}
		a.code, a.since = 0, ts
	}
	for n < len(p) && a.matched < statusLen {
		if !matchesStatus(a.matched, p[n]) {
			a.state, a.matched = answerSkip, 0
			return n
		}
		if a.matched > protoLen {
			a.code = a.code*10 + int(p[n]-'0')
		}
		a.matched++
		n++
	}
	if a.matched == statusLen {
		a.matched, a.state = 0, answerReason
		a.line.reset()
		a.framing = framing{}
		if a.code >= 200 || a.code == 101 && !q.h2c {
			c.begin(q, a.code, a.since)
		}
	}
	return n
}

// begin takes note of the final answer's beginning. A status of 0 stands for one that was not seen.
func (c *Conn) begin(q *Request, status int, ts uint64) {
	q.Status = status
	if !q.begun {
		q.begun, q.FirstWrite = true, ts
		c.missed = false
		c.began = append(c.began, q)
	}
}

// fields takes lines of the answer's header section, which an empty line ends.
func (a *answer) fields(p []byte) (n int, head bool) {
	for n < len(p) {
		text, used, whole := a.line.next(p[n:])
		n += used
		if !whole {
			return n, false
		}
		if len(text) == 0 {
			return n, true
		}
		name, value := header(text)
		a.framing.header(name, value, a.line.over)
	}
	return n, false
}

// endHead acts on a complete head of the answer to q (RFC 9112, 6.3).
func (c *Conn) endHead(q *Request, ts uint64) {
	a := &c.out
	switch ex := a.framing.extent(); {
	case a.code == 101 && q.h2c && c.in.state == readBetween:
		c.handOver(ts)
	case q.upgrades(a.code):
		c.upgrade(ts)
	case a.code < 200:
		a.state = answerStatus // interim (RFC 9110, 15.2)
		if a.code == 100 {
			c.in.continued(q)
		}
	case q.bodiless(a.code), ex == extentSized && a.framing.length == 0:
		c.finish(ts)
	case ex == extentUnknown:
		c.lose(false)
	case ex == extentChunked:
		a.state, a.body = answerBody, chunkedBody()
	case ex == extentSized:
		a.state, a.body = answerBody, sizedBody(a.framing.length)
	default:
		a.state, a.body = answerBody, openBody()
	}
}

// bodyMoved acts on what bytes did to the answer's body.
func (c *Conn) bodyMoved(ts uint64, pr progress) {
	switch pr {
	case bodyDone:
		c.finish(ts)
	case bodyLost:
		c.lose(false)
	}
}

// upgrade ends HTTP/1 on the connection with the answer to its oldest request. Others were read too early to be any.
func (c *Conn) upgrade(ts uint64) {
	c.opaque = true
	q := c.open.front()
	q.Upgraded = true
	c.begin(q, c.out.code, c.out.since)
	c.finish(ts)
	c.endAll(ts, false)
}

// matchesStatus tells whether b can be the i-th byte of a status line (RFC 9112, 4).
func matchesStatus(i int, b byte) bool {
	switch {
	case i < protoLen:
		return matchesProto(i, b)
	case i == protoLen:
		return b == ' '
	case i == protoLen+1:
		return '1' <= b && b <= '9'
	}
	return '0' <= b && b <= '9'
}

// beginsAnswer tells whether p begins with a status line.
func beginsAnswer(p []byte) bool {
	if len(p) < statusLen {
		return false
	}
	for i := range statusLen {
		if !matchesStatus(i, p[i]) {
			return false
		}
	}
	return true
}
