package trace

import (
	"net/netip"
	"slices"

	"apm-ebpf/internal/http1"
)

// Cut tells what ended a request before its time.
type Cut uint8

const (
	NotCut Cut = iota
	TargetExited
	AgentStopped
)

// Request is a request that has ended. It is told until the function returns to which it is handed.
type Request struct {
	*http1.Request
	PID, TID      uint32         // that wrote the answer; without one, that read the head
	Local, Remote netip.AddrPort // not valid on a Unix socket
	Sampled       bool
	Lost          uint64 // stack events lost in its window
	Cut           Cut

	Goroutine Goroutine // that serves it, or began to
	Looped    bool      // it is an event loop, and others serve what it reads

	Undecided bool // which lane served it could not be decided
	Imprecise bool // its goroutines were looked at too rarely for precise times, or its tasks switched unseen

	lostAt      uint64
	conn        *conn
	reader      *thread // that read the head
	shared      bool    // its reader read others' heads too before it answered any
	inTurns     bool    // and served it in turn with those
	process     *process
	lane        *lane // that makes the first write of the answer
	read        *lane // greenlet that read the head, nil: not known
	armed       *lane // that asked to be told when it can be written
	made        *lane // task that the callback has made which got its head …
	called      *lane // in which its application was called; nil: not known
	partly      bool  // for some of that time nothing told whether it was called for this one
	severalMade bool  // … and not the only one

	readByLoop  bool // its head was, not by a thread that may run one for it
	callsUntold bool // its event loop called what may have been started for it

	shown bool // stacks were seen that were called for it, and their threads know it for longer than it lasts

	goroutine *goLane // that is at work for it, nil: none is known
	byHandler bool    // it is known to run the handler
	loop      *goLane // event loop that read its head, for others to serve it; nil: none
	free      uint64  // when its goroutine began to read it, 0: not one of HTTP/1 in Go
	begun     uint64  // when it began to, 0: not known: of HTTP/2, or after an answer that goes on
	left      uint64  // HTTP/2: when it turned to another, 0: it has not; or the thread that began the answer had done with it
}

// over is in place of what was told of requests that were handed out.
var over http1.Request

// newRequest gives a request of which nothing is known, from those that are over where there are any.
func (t *Tracer) newRequest() *Request {
	last := len(t.over) - 1
	if last < 0 {
		return &Request{}
	}
	r := t.over[last]
	t.over = t.over[:last]
	return r
}

func (t *Tracer) begin(c *conn, h *http1.Request, x *Transfer, first, alone bool) {
	r := t.newRequest()
	*r = Request{
		Request: h,
		PID:     x.PID, TID: x.TID,
		Local: c.local, Remote: c.remote,
		Sampled: t.samples(c, h, first),
		lostAt:  c.lost,
		conn:    c,
	}
	if h.Client.IsValid() {
		r.Remote, t.passed.came = h.Client, true
	}
	switch {
	case !r.Sampled:
		if th := c.process.threads[x.TID]; th != nil {
			th.callback = nil
		}
	case x.Goroutine.ID == 0:
		r.reader = c.process.thread(x.TID)
		r.reader.reads(r, alone)
		if l := r.reader.lane; l != nil && l.kind == greenletLane {
			r.read = l
		}
	case !r.isStream():
		r.free = c.reads
		if g := c.process.goroutine(x.Goroutine.ID); g.loop {
			r.readBy(g)
			r.Goroutine = x.Goroutine
		} else {
			r.serve(x.Goroutine, x.Time)
		}
	}
	h.Owner = r
	c.requests = append(c.requests, r)
}

// samples tells whether a request gets a tree, of a connection whose stacks the kernel programs take for some or for none. Of
// HTTP/1 they draw for each that begins with a read; streams of HTTP/2 that overlap they take for one request.
func (t *Tracer) samples(c *conn, h *http1.Request, first bool) bool {
	p := c.process
	switch {
	case t.sampleEvery <= 1:
		return c.sampled
	case !isStream(h):
		return c.sampled && first
	case p.unsampled > 0:
		p.unsampled--
		return false
	case c.sampled:
		p.unsampled = t.sampleEvery - 1
	}
	return c.sampled
}

// finishAll hands out those requests that have begun and have not been handed out.
func (t *Tracer) finishAll(c *conn, ended []*http1.Request, now uint64) {
	for _, h := range ended {
		t.finish(c, h, now)
	}
}

// finish hands a request out. now is the time of the event that ended it.
func (t *Tracer) finish(c *conn, h *http1.Request, now uint64) {
	r, ok := h.Owner.(*Request)
	if !ok {
		return
	}
	c.requests = without(c.requests, r)
	r.Lost = c.lost - min(r.lostAt, c.lost) // it begins anew where the agent comes to know the process
	if r.Sampled {
		t.settle(r, now)
	}
	if r.Client.IsValid() {
		t.passed.add(r)
	}
	if !t.routed(c, r) {
		t.finished(r)
	}
	if r.lane != nil {
		r.lane.answered = max(r.lane.answered, r.ownEnd(r.lane))
	}
	if r.process != nil {
		r.process.queues.answered++
		r.process.endsAnswer(r)
	}
	if r.reader != nil {
		r.reader.heads = without(r.reader.heads, r)
		if r.reader.callback == r {
			r.reader.callback = nil
		}
	}
	r.unserve()
	if r.loop != nil && r.lane != nil && r.lane.of != r.loop {
		r.lane.of.disown()
		r.lane.forget(r.End)
	}
	r.loop = nil
	r.process, r.lane, r.read, r.armed, r.made, r.called, r.conn, r.reader = nil, nil, nil, nil, nil, nil, nil, nil
	r.Request, h.Owner = &over, nil
	t.requests.Put(h)
	if !r.shown && len(t.over) < sparesMax {
		t.over = append(t.over, r)
	}
}

// without takes a request from a list.
func without(list []*Request, r *Request) []*Request {
	if i := slices.Index(list, r); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// settle has everything told of the request's lane up to its end.
func (t *Tracer) settle(r *Request, now uint64) {
	r.process = t.processOf(r.conn, r.PID)
	if r.settleGo() {
		return
	}
	th := r.process.latest(r.TID)
	if r.lane == nil && !r.Undecided {
		r.lane = r.unanswered(th)
	}
	if r.lane == nil && r.called == nil {
		r.called = r.onlyTask(th)
	}
	if r.called != nil && (r.lane == nil || r.lane.kind == threadLane && r.lane != r.called) {
		r.settleCalled(now)
		return
	}
	r.called = nil
	if r.End > th.since || th.state == waiting {
		th.settle(max(now, r.End))
	}
	if r.lane == &th.home {
		r.inTurns = r.shared || r.interrupted(th)
		if r.inTurns && !th.loopRuns {
			r.lane = nil
		}
	}
	r.Undecided = r.lane == nil
}

// settleCalled has everything told of the lane in which the request's application was called, which does not write.
func (r *Request) settleCalled(now uint64) {
	l := r.called
	r.lane, r.inTurns, r.Undecided = l, l.kind == threadLane, r.partly
	if l.on != nil && l.on.lane == l {
		l.on.settle(max(now, r.End))
	}
}

// Connection names the connection on which it came. Only while it is being handed out.
func (r *Request) Connection() uint64 { return r.conn.id }

// Duration is the length of the request's window, ns.
func (r *Request) Duration() int64 { return int64(r.End - min(r.Start, r.End)) }

// handled tells up to when the goroutine or task that ran the handler was at work for the request. The answer may be
// written later, by another.
func (r *Request) handled() uint64 {
	l := r.lane
	switch {
	case l.kind.onLoop() && !r.inTurns:
		l = r.trunk()
	case l.kind == threadLane:
		return r.ownEnd(l)
	case !r.byHandler || l.of == nil:
		return r.End
	case r.left != 0:
		return min(r.left, r.End)
	}
	if l.ended && len(l.slices) > 0 {
		return min(l.told(), r.End)
	}
	return r.End
}

// ownEnd is when the lane that began the answer was free for the next one.
func (r *Request) ownEnd(l *lane) uint64 {
	if l.kind == threadLane && r.left != 0 {
		return min(r.left, r.End)
	}
	return r.End
}

// wasCut tells that the request ended while there was more to come.
func (r *Request) wasCut() bool { return r.Cut != NotCut || r.NoResponse || r.ClientClosed }

// answerer gives the lane that had the answer which the event loop writes; nil where that can't be told.
func (r *Request) answerer() *lane {
	if r.armed != nil || r.severalMade {
		return r.armed
	}
	return r.made
}

// unanswered gives the lane of a request that ends without an answer, whose head the thread has read; nil where that can't
// be told. What runs there as it ends may be another's.
func (r *Request) unanswered(th *thread) *lane {
	switch {
	case th.tasks && r.answerer() != nil:
		return r.answerer()
	case !th.tasks && r.read != nil:
		return r.read
	case th.tasks, th.greenlets:
		if r.process.wasCrowded(r.Start) {
			return nil
		}
	}
	return th.answers(r)
}

// misses tells that the lane which seems to answer is none that comes of the task which the callback has made. An answer
// that comes without a stack, as 101 does, may be written by the event loop when a step of another task has just ended.
func (r *Request) misses(x *Transfer) bool {
	th := r.conn.process.threads[x.TID]
	if th == nil || th.wrote == x.Time || !r.lane.kind.onLoop() || r.made == nil || r.severalMade {
		return false
	}
	for l := r.lane; l != nil; l = l.parent {
		if l == r.made {
			return false
		}
	}
	return true
}
