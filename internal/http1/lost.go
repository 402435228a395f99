package http1

// writeGap takes n bytes that the server wrote and that were not kept.
func (c *Conn) writeGap(ts uint64, n int64) {
	a := &c.out
	for n > 0 && c.open.len() > 0 {
		q, used := c.open.front(), n
		a.last = ts
		switch a.state {
		case answerStatus:
			c.statusGap(q, ts)
		case answerReason, answerFields:
			c.headGap(q, ts)
		case answerBody:
			var pr progress
			used, pr = a.body.skip(n)
			c.bodyMoved(ts, pr)
		}
		q.BytesOut += used
		n -= used
	}
}

// statusGap acts on a gap where the status of the answer to q should be.
func (c *Conn) statusGap(q *Request, ts uint64) {
	a := &c.out
	if a.matched == 0 {
		a.since = ts
	}
	a.framing = framing{}
	c.begin(q, 0, a.since)
	c.lose(true)
}

// headGap acts on a gap in the head of the answer to q.
func (c *Conn) headGap(q *Request, ts uint64) {
	switch {
	case q.upgrades(c.out.code):
		c.upgrade(ts)
	case c.out.code < 200:
		c.LostWrites++
		c.out.state = answerSkip
	default:
		c.lose(true)
	}
}

// lose gives up the framing of the current answer.
func (c *Conn) lose(inHead bool) {
	c.LostWrites++
	c.out.state, c.out.inHead, c.out.matched = answerLost, inHead, 0
	c.out.ending.reset()
}

// endWrite looks at the end of a write of an answer whose framing is lost: it may be the end of the head, from where
// the headers that were seen tell the rest, or of the last chunk.
func (c *Conn) endWrite(ts uint64, ch Chunk) {
	a := &c.out
	if a.state != answerLost || c.open.len() == 0 {
		return
	}
	q := c.open.front()
	a.ending.add(ch)
	bodiless := q.Method == "HEAD" || q.Status != 0 && q.bodiless(q.Status)
	switch {
	case a.ending.lastChunk() && !bodiless && a.framing.extent() != extentSized:
		c.finish(ts)
	case !a.inHead:
	case a.ending.head() && bodiless:
		c.finish(ts)
	case a.ending.head() && a.framing.extent() != extentNone:
		c.endHead(q, ts)
	case !bodiless:
		a.inHead = false
	}
}

// lastChunk is how a chunked body without trailers ends: the line end of the chunk before, and the last chunk.
const lastChunk = "\r\n0\r\n\r\n"

// ending holds the last bytes of a stream, as many as are known.
type ending struct {
	buf [len(lastChunk)]byte
	n   int
}

func (e *ending) reset() { e.n = 0 }

// add takes a write.
func (e *ending) add(ch Chunk) {
	if ch.Gap() > 0 {
		e.n = 0
		e.push(ch.Tail)
		return
	}
	e.push(ch.Head)
	e.push(ch.Tail)
}

func (e *ending) push(p []byte) {
	if drop := e.n + len(p) - len(e.buf); drop > 0 {
		if drop >= e.n {
			p = p[drop-e.n:]
			drop = e.n
		}
		copy(e.buf[:], e.buf[drop:e.n])
		e.n -= drop
	}
	e.n += copy(e.buf[e.n:], p)
}

// lastChunk tells whether the known bytes end a chunked body.
func (e *ending) lastChunk() bool {
	const least = len("0\r\n\r\n")
	return e.n >= least && string(e.buf[:e.n]) == lastChunk[len(lastChunk)-e.n:]
}

// head tells whether the known bytes end a head.
func (e *ending) head() bool {
	const end = "\r\n\r\n"
	return e.n >= len(end) && string(e.buf[e.n-len(end):e.n]) == end
}
