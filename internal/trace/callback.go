package trace

import (
	"math"
	"slices"
	"strings"

	"apm-ebpf/internal/symbol"
)

// tornadoCoroutines is where tornado runs generators, each in a Context of its own.
const tornadoCoroutines = "/tornado/gen.py"

// copied is a Context that a lane has copied, for what an event loop calls later to run in.
type copied struct {
	callbacks *lane  // that run in it, nil: none was seen yet
	giver     *lane  // that copied it
	from      uint64 // when
	stack     *Context
	work      uint64 // Context and job of the giver
	item      uint64
	once      bool   // for one callback
	round     uint64 // of the event loop in which one was seen last, from 1; 0: none was yet
}

// Copied takes that a thread has copied its Context.
func (t *Tracer) Copied(pid, tid uint32, now uint64, s *Stack, context uint64) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	giver, stack := th.creates(now, s)
	p.copiedAgain(context, now)
	switch {
	case giver == nil:
	case stack.handsOn():
		p.hands(giver, context, now, stack)
		giver = nil
	case stack.spawns():
		p.keepsCopy(context, copied{giver: giver, from: now, stack: stack, item: th.item})
		return
	}
	if giver == nil || giver == &th.home && (th.tasks || th.calledFrom(s) > 0) || stack.waitsForDescriptor() {
		delete(p.copies, context)
		return
	}
	c := copied{giver: giver, from: now, stack: stack, work: s.Work, item: th.item, once: th.calledOnce(stack)}
	if giver.kind == callbackLane { // they go on in one lane
		c.callbacks = giver
	}
	p.keepsCopy(context, c)
}

func (p *process) keepsCopy(context uint64, c copied) {
	if len(p.copies) >= lanesMax {
		clear(p.copies)
		p.copiesSince = c.from
	}
	p.copies[context] = c
}

// SeesContexts takes that the copies of a process's Contexts are told from now on.
func (t *Tracer) SeesContexts(pid uint32, now uint64) {
	if p := t.processes[pid]; p != nil {
		p.copiesSince = now
	}
}

// UntoldCallbacks gives the processes in which event loops call what may be a request's, for the first time.
func (t *Tracer) UntoldCallbacks(yield func(pid uint32)) {
	for pid, p := range t.processes {
		if p.callsUntold {
			p.callsUntold = false
			yield(pid)
		}
	}
}

// waitsForDescriptor tells the stack of an event loop that makes ready to call something whenever a descriptor is: for
// whom, it cannot be known by then.
func (c *Context) waitsForDescriptor() bool {
	if c == nil || c.parent == nil || !c.fn.InFile(eventsFile) {
		return false
	}
	name := c.parent.fn.Name
	return strings.HasSuffix(name, "_add_reader") || strings.HasSuffix(name, "_add_writer") || strings.HasSuffix(name, "add_signal_handler")
}

// calledOnce tells a stack of which only one callback runs in the Context that it copies.
func (t *thread) calledOnce(stack *Context) bool {
	if stack == nil || stack.fn.InFile(eventsFile) {
		return true
	}
	return t.callsTasks != nil && !ofFile(t.callsTasks.fn, eventsFile, "_run") && !stack.fn.InFile(tornadoCoroutines)
}

// calledFrom is how many of the frames, outermost first, are those of the event loop that calls the others; 0: it calls
// none.
func (t *thread) calledFrom(s *Stack) int {
	for i := len(s.Frames) - 2; i >= 0; i-- {
		if ofFile(s.Frames[i].Func, eventsFile, "_run") {
			return i + 1
		}
	}
	loop := t.callsTasks // one written in C
	if loop == nil || int(loop.depth) >= len(s.Frames) || t.process.contexts.path(s.Frames[:loop.depth]) != loop {
		return 0
	}
	return int(loop.depth)
}

// callbacks gives the lane of what the event loop calls, whose Context was copied by another, and how many frames are the
// loop's; nil where none does, or for no one that is known.
func (t *thread) callbacks(s *Stack) (l *lane, from int) {
	p := t.process
	c, known := p.copies[s.Work]
	if !known {
		return nil, 0
	}
	if from = t.calledFrom(s); from == 0 {
		return nil, 0
	}
	if l = c.callbacks; c.once && c.round != 0 && c.round != t.rounds+1 || servesDescriptor(s.Frames[from:]) {
		delete(p.copies, s.Work) // another has the address, or more is called in it than what the copy was made for
		return nil, 0
	}
	if l == nil {
		l = &lane{kind: callbackLane, born: c.from, parent: c.giver, started: c.stack, item: c.item, work: c.work, begun: true}
		c.giver.starts(l)
	}
	if c.callbacks != l || c.round != t.rounds+1 {
		c.callbacks, c.round = l, t.rounds+1
		p.copies[s.Work] = c
	}
	l.below = p.contexts.path(s.Frames[:from])
	return l, from
}

// protocolMethods are what an event loop calls of an asyncio.Protocol whenever something comes on its connection, and of
// Twisted's and tornado's kin.
var protocolMethods = []string{
	"data_received", "buffer_updated", "get_buffer", "eof_received", "datagram_received", "pipe_data_received",
	"connection_made", "connection_lost", "pause_writing", "resume_writing", "_handle_events", "_readOrWrite",
}

// servesDescriptor tells what is called as a descriptor is ready, whoever waits for what comes there.
func servesDescriptor(frames []Frame) bool {
	return slices.ContainsFunc(frames, func(f Frame) bool {
		return slices.Contains(protocolMethods, f.Func.Name[strings.LastIndexByte(f.Func.Name, '.')+1:])
	})
}

// callsApp tells that the event loop calls functions of the application for nobody that is known.
func (t *thread) callsApp(s *Stack) bool {
	from := t.calledFrom(s)
	if from == 0 || t.ownLoop() {
		return false
	}
	called, app := s.Frames[from:], false
	for i := range called {
		switch fn := called[i].Func; {
		case fn == symbol.Unknown, fn == Truncated: // it may be a task
			return false
		case fn.App && !strings.HasPrefix(fn.File, "<"): // libraries make code too
			app = true
		}
	}
	return app && !loops(called[0].Func) && !servesDescriptor(called)
}

// callsMaker tells that a task was made by what the event loop calls for nobody that is known.
func (t *thread) callsMaker(l *lane, s *Stack) bool {
	if l.parent != &t.home || l.future != 0 || t.ownLoop() {
		return false
	}
	from := t.calledFrom(s)
	if from == 0 || servesDescriptor(s.Frames[from:]) {
		return false
	}
	called := s.Frames[from].Func
	return !loops(called) && !called.InFile(granianFile) || makesTask(called)
}

// makesTask tells a function of asyncio's that may be called later to make a task of a coroutine, as loaders of data do.
func makesTask(fn *symbol.Func) bool {
	return strings.HasSuffix(fn.Name, "ensure_future") || strings.HasSuffix(fn.Name, "create_task")
}

// stepsForNobody takes the first step of a task that was made so. By now it may be known who waits for it, or which request
// its server called the application for.
func (t *thread) stepsForNobody(l *lane) {
	l.nobodys = false
	if l.bridged || l.parent != &t.home {
		return
	}
	for _, c := range t.process.open {
		for _, r := range c.requests {
			if r.called == l || r.made == l {
				return
			}
		}
	}
	t.process.callsUnknown()
}

// ownLoop tells that the thread runs the event loop for a request of its own.
func (t *thread) ownLoop() bool { return len(t.heads) == 1 && !t.heads[0].readByLoop }

// stepsBeside takes a step of a task. One that the thread had not made by itself for the only request that it has read
// tells that its event loop read that.
func (t *thread) stepsBeside(l *lane) {
	if t.ownLoop() && (l.born < t.heads[0].Start || l.started.receives()) {
		t.heads[0].readByLoop = true
	}
}

// callsUnknown takes that the event loop calls what may have been started for a request: who has had it called would be
// known, had copies of Contexts been seen since the request was read.
func (p *process) callsUnknown() {
	since := p.copiesSince
	if since == 0 {
		p.callsUntold, since = true, math.MaxUint64
	}
	for _, c := range p.open {
		for _, r := range c.requests {
			r.callsUntold = r.callsUntold || r.Start < since
		}
	}
}

// callsNobodys takes a stack of the event loop's own, or of what it calls for nobody that is known.
func (t *thread) callsNobodys(s *Stack) {
	p := t.process
	if t.calledFrom(s) != 0 {
		if t.callsApp(s) {
			p.callsUnknown()
		}
		return
	}
	t.rounds++
	c, known := p.copies[s.Work]
	switch n := len(s.Frames); {
	case !known, n > 0 && ofFile(s.Frames[n-1].Func, eventsFile, "_run"): // it is about to call, or has called, something
	case c.once: // the same, or it calls what is none of Python's
		c.round = t.rounds + 1
		p.copies[s.Work] = c
	default:
		delete(p.copies, s.Work)
	}
}
