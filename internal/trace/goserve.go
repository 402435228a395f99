package trace

import (
	"slices"
	"strings"

	"apm-ebpf/internal/http1"
)

// Serve takes that a goroutine begins to serve a request: of a stream, or of HTTP/1 where that is 0.
func (t *Tracer) Serve(connection uint64, stream uint32, by Goroutine, now uint64) {
	c := t.find(connection)
	if c == nil {
		return
	}
	for _, r := range c.requests {
		if r.FirstWrite == 0 && (stream == 0 || r.Request == c.http.Stream(stream)) {
			r.serve(by, now)
			r.byHandler = true
			if stream != 0 {
				r.begun = now
			}
			return
		}
	}
}

// serve takes that a goroutine is at work for the request since now.
func (r *Request) serve(by Goroutine, now uint64) {
	p := r.conn.process
	if by.ID == 0 || r.goroutine != nil && r.goroutine.id == by.ID {
		return
	}
	if !r.Sampled {
		r.Goroutine = by
		if g := p.byID[by.ID]; g != nil {
			g.turns(now)
		}
		return
	}
	r.unserve()
	g := p.goroutine(by.ID)
	g.cut(now, by)
	g.ranOn(nil)
	g.shows(nil)
	g.stack = g.stack.outermost() // what is below it was for another
	g.looks = false
	g.several = g.several || g.serves != nil && g.serves.conn != r.conn
	g.open++
	g.turns(now)
	g.serves, g.served = r, now
	g.isFollowed(now)
	r.goroutine, r.Goroutine = g, by
}

// turns takes that the goroutine is at work for another request than before.
func (g *goLane) turns(now uint64) {
	if last := g.serves; last != nil && last.byHandler {
		last.left = now
	}
}

// unserve takes that its goroutine is no longer at work for the request.
func (r *Request) unserve() {
	g := r.goroutine
	if g == nil {
		return
	}
	r.goroutine = nil
	if g.serves == r {
		g.serves = nil
	}
	g.open--
	g.served = max(g.served, r.End) // with what it has read already, pipelined
	if g.open == 0 {
		g.disown()
		g.lane.forget(r.End)
	}
}

// Pipelined tells of a request that is about to end that its goroutine has read another on the connection, which it serves next.
func (r *Request) Pipelined() bool {
	return r.goroutine != nil && len(r.conn.requests) > 0 && r.conn.requests[0].goroutine == r.goroutine
}

// isStream tells a request of HTTP/2: the goroutine that reads and writes for all streams is not at work for it.
func (r *Request) isStream() bool { return isStream(r.Request) }

func isStream(h *http1.Request) bool { return strings.HasPrefix(h.Proto, "HTTP/2") }

// cut takes that a thread reads or writes on a connection, or a goroutine of Go. amid: of a body, so that no request begins
// there and no answer.
func (p *process) cut(c *conn, x *Transfer, amid bool) {
	if x.Goroutine.ID != 0 {
		p.enters = x.Goroutine.Enters
		g := p.goroutine(x.Goroutine.ID)
		g.cut(x.Time, x.Goroutine)
		if x.Begins && !x.Framed {
			g.beginsToRead(c, x.Time)
		}
	} else {
		t := p.thread(x.TID)
		if turns := t.turn != c && !t.tasks && !t.greenlets; !amid || turns || t.state == waiting {
			t.cut(x.Time, nil)
		} // else what runs goes on, as its next stack will tell
		t.transfers(c, x.Time)
	}
}

// answers gives the lane that begins to answer a request; nil where that can't be told.
func (p *process) answers(r *Request, x *Transfer) *lane {
	switch {
	case x.Goroutine.ID == 0:
		return p.thread(x.TID).answers(r)
	case r.isStream() && !r.byHandler:
		return nil
	}
	g := p.goroutine(x.Goroutine.ID)
	if loop := r.loopFor(g); loop != nil {
		return r.answeredFor(loop, g)
	}
	if r.goroutine != nil && (r.byHandler || r.goroutine.isAbove(g) || g.first() >= x.Time) { // it may have had another write
		g = r.goroutine
	}
	return &g.lane
}

// writesToo takes that a goroutine goes on writing the answer that another has begun: if it has read the request's head, it
// serves, and the other has only flushed a buffer, as timers do (Go src/net/http/httputil/reverseproxy.go).
func (r *Request) writesToo(x *Transfer) {
	if g := r.goroutine; g != nil && g.id == x.Goroutine.ID && r.loop == nil && !g.loop && r.lane != nil && r.lane.of != nil {
		r.lane = &g.lane
	}
}

// beginsToRead takes that the goroutine reads what may begin a request.
func (g *goLane) beginsToRead(c *conn, now uint64) {
	if g.reads != c {
		g.reads, g.elsewhere = c, g.read
	}
	g.read = now
}

// leaves tells that the goroutine has turned to other connections since it read the request's head.
func (g *goLane) leaves(r *Request) bool {
	elsewhere := g.elsewhere
	if g.reads != r.conn {
		elsewhere = g.read
	}
	return max(g.polled, elsewhere) > r.Start
}

// loopFor gives the event loop that has read the request's head, nil where none has: one that has turned to other
// connections since, or that another answers for and that is no more, or was seen to wait for descriptors or to read for several.
func (r *Request) loopFor(by *goLane) *goLane {
	g := r.goroutine
	switch {
	case r.loop != nil:
		return r.loop
	case g == nil || r.byHandler || !g.loop && !(by == g && g.leaves(r)) && !(by != g && (g.ended || g.polled != 0 || g.several)):
		return nil
	}
	g.becomesLoop()
	r.readBy(g)
	return g
}

// answeredFor gives the lane that answers what an event loop has read; nil where that is the loop, which has turned to others
// meanwhile: it can't be told who gave it the answer. A goroutine that may have been there by then was started for it at once.
func (r *Request) answeredFor(loop, by *goLane) *lane {
	if by == loop {
		if loop.leaves(r) {
			return nil
		}
	} else if by.born > r.Start {
		by.beginsBefore(r.Start)
	}
	for _, kid := range by.kids {
		if kid.of != nil {
			kid.of.begunSince(max(r.Start, by.answered))
		}
	}
	return &by.lane
}

// begunSince takes that the goroutine was started after a point.
func (g *goLane) begunSince(at uint64) {
	g.absent, g.born = max(g.absent, at), max(g.born, at)
}

// readBy takes that an event loop has read the request's head, for others to serve it.
func (r *Request) readBy(loop *goLane) {
	r.unserve()
	r.loop, r.Looped = loop, true
}

// becomesLoop takes that the goroutine is an event loop: what it has started is of no request.
func (g *goLane) becomesLoop() {
	for _, kid := range g.kids {
		kid.parent = nil
	}
	g.kids, g.family = nil, 0
	g.loop, g.process.loops = true, true
}

// settleGo has everything told of a request that goroutines serve, up to its end. False: threads do.
func (r *Request) settleGo() bool {
	if r.goroutine != nil && r.goroutine.loop && !r.byHandler {
		r.readBy(r.goroutine)
	}
	switch {
	case r.lane == nil && r.loop != nil:
		r.Undecided = true
		return true
	case r.lane == nil && r.goroutine != nil && (r.byHandler || !r.isStream()):
		r.lane = &r.goroutine.lane
	case r.lane == nil || r.lane.of == nil:
		return false
	}
	g := r.lane.of
	g.settle(r.End)
	own, beside := g.missed(r.Start, r.End), g.missedBeside(r.Start, r.End)
	if r.loop != nil {
		own = g.missedOf(r)
	} else {
		own.rest(r.End - r.Start)
	}
	own.time += g.unsought(r.Start, r.End)
	r.Imprecise = g.process.lowered >= r.Start || g.lateSince(r.Start) || own.tooMuch() || beside.tooMuch()
	return true
}

// missed is for how long it is not known what goroutines did, and of how much, ns.
type missed struct{ time, of uint64 }

// tooMuch tells that times are less precise than records promise without a word.
func (m missed) tooMuch() bool { return m.time > max(missedMax, m.of*missedShare/100) }

// rest takes that nothing is known of what is left of a window.
func (m *missed) rest(window uint64) {
	m.time += window - min(m.of, window)
	m.of = window
}

// missedMax is what may be missed in any case, ns, and missedShare in percent.
const (
	missedMax   = 2_000_000
	missedShare = 3
)

// lateSince tells that a look came too late since a point, for the goroutine or one that it has started.
func (g *goLane) lateSince(at uint64) bool {
	return g.late >= at || slices.ContainsFunc(g.kids, func(kid *lane) bool {
		return kid.of != nil && !kid.claimed && kid.of.lateSince(at)
	})
}

// missedBeside is what is missed of those that the goroutine has started, in a window.
func (g *goLane) missedBeside(from, to uint64) (m missed) {
	for _, kid := range g.kids {
		if kid.of == nil || kid.claimed || kid.born >= to {
			continue
		}
		own, beside := kid.of.missed(from, to), kid.of.missedBeside(from, to)
		m.time += own.time + beside.time + kid.of.doubt + kid.of.unsought(from, to)
		m.of += own.of + beside.of
	}
	return m
}

// missedOf is what is missed of the goroutine where it answers for an event loop: it was seen late when it began to, or not yet.
func (g *goLane) missedOf(r *Request) missed {
	from := min(max(r.Start, g.born, g.answered), r.End)
	m := g.missed(from, r.End)
	m.rest(r.End - from)
	m.time += g.doubt
	g.doubt = 0
	return m
}

// missed is what is missed of the goroutine itself, in a window.
func (g *goLane) missed(from, to uint64) (m missed) {
	for i := range g.slices {
		s := &g.slices[i]
		time := s.within(from, to)
		m.of += time
		if s.why == NotSampled {
			m.time += time
		}
	}
	return m
}
