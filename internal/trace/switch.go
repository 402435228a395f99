package trace

import (
	"slices"
	"strings"
)

// justBegun is for how long the thread may run from the beginning of a step on before the task's own frame is there, ns.
const justBegun = 100_000

// beginning tells that a step has just begun whose task's own frame is not on the stack yet.
func (t *thread) beginning(now uint64, s *Stack) bool {
	if !t.begins || t.step == nil || t.lane != t.step || now-t.since >= justBegun {
		return false
	}
	l, _, _ := t.resolve(s)
	return l.kind != taskLane
}

// preempted tells that the thread loses its CPU at the very beginning of a step, as it does where the program that told of
// it took long: nothing but what calls tasks is on the stack. Where it lets go of the interpreter lock, which it does by a
// system call, the step is over.
func (t *thread) preempted(now uint64, s *Stack, why Reason) bool {
	if why != RunQueue || s.InCall || !t.beginning(now, s) {
		return false
	}
	stack := t.process.contexts.path(s.Frames)
	return stack != nil && (ofFile(stack.fn, eventsFile, "_run") || stack == t.step.below)
}

// stepOver takes that the event loop waits, if the task on the thread has ended its step: the stack is the loop's.
func (t *thread) stepOver(now uint64, shown *lane) {
	if shown != &t.home || t.lane == nil || t.lane.kind != taskLane || t.lane != t.step {
		return
	}
	last := t.step
	t.stepEnds(now, false)
	t.lastStep = last
}

// see tells which lane shows the stack, and settles with the one that was on the thread before. It gives
// the lane's own part of the stack.
func (t *thread) see(now uint64, s *Stack) *Context {
	l, stack, below := t.resolve(s)
	t.shows(now, s, l, stack, below)
	return stack
}

// shows takes which lane shows the stack, with its own part of that and the tasks below it, as resolve tells.
func (t *thread) shows(now uint64, s *Stack, l *lane, stack *Context, below []under) {
	t.begins, t.leaver = false, 0
	over := t.tasks && l == &t.home && t.loopOver(stack)
	switch {
	case t.lane == nil:
		t.take(l, max(t.since, t.switched))
	case t.lane != l:
		t.move(now, l, below)
	}
	if over {
		t.endLoop()
	} else if l == &t.home && stack != nil && stack.looped && !t.loop.runs(stack) {
		t.loop = stack
	}
	for _, u := range below { // its creators stand below it all the while
		u.lane.add(slice{from: max(u.kid.born, u.lane.told()), to: now, stack: u.stack})
		u.lane.stack, u.lane.begun = u.stack, true
	}
	t.under, t.spare = below, t.under
	if l == &t.home && t.tasks {
		t.callsNobodys(s)
	}
	l.stack, l.begun = stack, true
	if t.looksForLoop() {
		t.calls(s, stack)
	}
}

// under is a task on whose stack a kid of it runs, with the part of the stack that is its own.
type under struct {
	lane, kid *lane
	stack     *Context
}

func isUnder(below []under, l *lane) bool {
	return slices.ContainsFunc(below, func(u under) bool { return u.lane == l })
}

// resolve tells the lane of a stack: the outermost coroutine's task, else the greenlet, else the thread. A
// task that runs on the stack of the one that creates it (eager, 3.12 and later) is the lane, until it is
// suspended for the first time.
func (t *thread) resolve(s *Stack) (l *lane, stack *Context, below []under) {
	p := t.process
	below = t.spare[:0]
	t.python = t.python || len(s.Frames) > 0
	t.other = t.other || len(s.Frames) == 0 && !s.Broken
	from, above := 0, (*Context)(nil)
	for i := range s.Frames {
		key := s.Frames[i].Task
		if key == 0 {
			continue
		}
		if l == nil {
			if t.called(s.Frames[:i+1]) {
				continue
			}
			l, above = t.taskOf(key)
			from = i
			if i > 0 {
				l.below = p.contexts.path(s.Frames[:i])
				p.trio = p.trio || l.below.trio
				t.callsTasks = l.below
				t.loop = l.below
				t.runsLoop(s)
			}
			continue
		}
		x := p.tasks[key]
		if x != nil && x != l && x.parent == l && x.stepped == 0 && x.born >= l.stepped && !x.ended {
			below = append(below, under{lane: l, kid: x, stack: p.contexts.below(above, s.Frames[from:i])})
			l, from, above = x, i, nil
		}
	}
	if l == nil {
		l = &t.home
		if t.greenlets && (s.Root != 0 || p.objects[t.object] != nil) && !t.isOwn(s) { // in C code before or after all functions
			l = t.greenletOf(s.Root, p.contexts.path(s.Frames))
		} else if called, at := t.callbacks(s); called != nil {
			l, from = called, at
		}
	}
	return l, p.contexts.below(above, s.Frames[from:]), below
}

// taskOf gives the task whose coroutine is the outermost on a stack. A task that awaits an object with __await__ goes on
// in what that gave: the interpreter then leaves out the coroutines before it, which above is the path of.
func (t *thread) taskOf(coroutine uint64) (l *lane, above *Context) {
	known := t.process.tasks[coroutine]
	if l := t.step; l != nil && (known == nil || known.born < l.stepped) {
		if at := slices.Index(l.chain, coroutine); at > 0 {
			return l, l.waited.upTo(int32(at))
		}
	}
	return t.process.task(coroutine), nil
}

// called tells whether the coroutine on top of a stack is no task: nothing told of it as one, and what drives it, by
// send(), is no event loop. It runs and ends as any other call.
func (t *thread) called(frames []Frame) bool {
	coroutine := len(frames) - 1
	if coroutine == 0 || t.tasks || t.process.tasks[frames[coroutine].Task] != nil {
		return false
	}
	return !loops(frames[coroutine-1].Func)
}

// take puts a lane on the thread. It has run since from.
func (t *thread) take(l *lane, from uint64) {
	t.after = nil
	if l.kind == greenletLane && l.suspended != 0 {
		t.after = l.stack // with which it left
	}
	switch {
	case l.suspended != 0 && l.suspended < from:
		l.goOn(from, nil)
	case l.kind == greenletLane && !l.begun && l.born != 0: // a task's step tells the same
		l.add(slice{from: l.born, to: from, why: RunQueue})
	}
	l.suspended = 0
	l.on = t
	t.lane, t.since, t.seen, t.stack, t.broken = l, from, 0, l.stack, false
	if l.kind == greenletLane {
		t.item = l.doing
	}
}

// midway is half-way between what was seen last and now.
func (t *thread) midway(now uint64) uint64 {
	last := max(t.since, t.seen)
	return last + (now-min(last, now))/2
}

// move takes a change of lanes that nothing told: it was half-way between what was seen last and now.
func (t *thread) move(now uint64, l *lane, below []under) {
	at := t.midway(now)
	if creates := isUnder(below, t.lane); creates && !l.begun {
		at = max(l.born, t.since)
	} else if (t.lane == &t.home || t.lane.kind == callbackLane) && l.kind == taskLane && !l.begun && l.stepped == 0 && l.born >= max(t.since, t.seen) { // a callback made it
		at = l.born
	}
	t.runTo(at, nil)
	for _, u := range t.under { // they stood below it until then
		u.lane.add(slice{from: max(u.kid.born, u.lane.told()), to: at, stack: u.stack})
	}
	for _, u := range append(t.under, under{lane: t.lane}) {
		if u.lane.kind != threadLane && u.lane.kind != callbackLane && u.lane != l && !isUnder(below, u.lane) {
			u.lane.suspend(at, at)
		}
	}
	t.take(l, at)
}

// Step is the beginning of a task's step.
type Step struct {
	Coroutine uint64
	Chain     []Frame // where it was suspended, outermost first
	Short     bool    // so soon after the one before that the chain was not taken
	Work      uint64  // a Context among the locals of the chain's last frame: handed to a thread
	Context   uint64  // in which trio runs the task, 0: it is not trio's
	LastDone  bool    // the task of the step before has finished
}

// stepBegins takes the beginning of a task's step: the one before has ended.
func (t *thread) stepBegins(now uint64, s Step) {
	p := t.process
	if t.state == waiting {
		t.resume(now)
	}
	t.stepEnds(now, s.LastDone)
	l := p.taskIn(s.Coroutine, s.Context)
	if l.born == 0 && l.suspended == 0 && l.stepped == 0 && !l.begun {
		l.suspend(p.since, p.since) // it was there before the first of the open requests
	}
	stack := p.contexts.path(s.Chain)
	if l.suspended == 0 && !l.begun && l.born != 0 && len(s.Chain) > 1 {
		l.suspend(l.born, l.born) // an eager task that was suspended before it was seen
	}
	switch {
	case len(s.Chain) <= 1 && !l.begun && l.born != 0: // created and not yet begun
		l.add(slice{from: l.born, to: now, why: RunQueue})
		l.stack, l.suspended = stack, 0
	case s.Short:
		l.goOn(now, nil)
	default:
		l.goOn(now, stack)
		l.goesOn(s.Chain, stack)
	}
	if s.Work != 0 {
		l.works = bounded(append(l.works, work{context: s.Work, from: l.stepped, to: now, stack: stack}))
	}
	if s.Context != 0 && !s.Short && !waitsForThread(s.Chain) {
		l.regains(now)
	}
	p.fulfils(l)
	if !l.fetches && takesItem(s.Chain) {
		l.fetches = true
		p.fetchers[*s.Chain[0].Func] = struct{}{}
	}
	t.tasks = true
	t.take(l, now)
	if len(s.Chain) > 0 && !s.Short {
		t.after = stack
	}
	t.callback = nil
	t.stepsBeside(l)
	if l.nobodys {
		t.stepsForNobody(l)
	}
	t.rounds++
	t.state, t.step, t.begins, l.stepped, l.begun = running, l, true, now, true
}

// stepEnds takes the end of the step that runs. Where it stopped will be told by the next one's chain.
func (t *thread) stepEnds(now uint64, done bool) {
	l := t.step
	t.step = nil
	switch {
	case t.lane == nil:
	case t.lane.kind == taskLane: // an eager one had no step
		t.pause(now, t.lane)
		for _, u := range t.under {
			u.lane.add(slice{from: u.lane.told(), to: now, stack: u.stack})
			u.lane.suspend(now, now)
		}
		if l != nil {
			t.home.add(slice{from: max(t.home.told(), l.stepped), to: now, stack: t.driver()})
		}
	default:
		t.runTo(now, nil)
	}
	if l != nil && t.lane != l && !isUnder(t.under, l) && l.suspended == 0 && !l.ended {
		l.suspend(now, now)
	}
	if l == nil {
		l = t.lastStep
	}
	if l != nil && done {
		l.finish()
	}
	t.lastStep = nil
	t.lane, t.under, t.since, t.seen = nil, t.under[:0], now, 0
}

// endsEager takes that a task has ended which ran on the stack of the one that created it.
func (t *thread) endsEager(now uint64, l *lane) {
	if t.lane == l && t.state == running { // it was on top when last seen
		at := t.midway(now)
		t.runTo(at, nil)
		if n := len(t.under); n > 0 {
			u := t.under[n-1]
			t.under = t.under[:n-1]
			u.lane.add(slice{from: max(l.born, u.lane.told()), to: at, stack: u.stack})
			t.take(u.lane, at)
		} else {
			t.lane, t.since, t.seen = nil, at, 0
		}
	}
	l.finish()
}

// pause suspends the lane on the thread: its last sample holds until half-way to now.
func (t *thread) pause(now uint64, l *lane) {
	told := t.since
	if t.seen != 0 {
		t.ran(t.seen+(now-t.seen)/2, t.stack, nil)
		told = t.since
	}
	l.suspend(now, told)
	l.after = t.after
}

// creates takes a lane's start by the one that shows the stack. It gives the starter and its stack.
func (t *thread) creates(now uint64, s *Stack) (*lane, *Context) {
	if t.scoped == now {
		t.worksFor(now, s, false)
	}
	t.cut(now, s)
	return t.lane, t.stack
}

// reads takes that the thread has read the head of a request, and no other's with it if it is alone. For that it works, and
// what seemed to be work for another was none: a lock was let go of.
func (t *thread) reads(r *Request, alone bool) {
	if g := t.home.openGrant(); g != nil {
		g.doubtful = true
	}
	t.heads = append(t.heads, r)
	t.serves, t.callback = true, nil
	r.readByLoop = t.tasks
	if alone {
		t.callback = r
	}
}

// makes takes that a callback of the event loop has made a task. What gets the bytes of a request makes the task that
// serves it, if any; where it makes several, nothing tells which.
func (t *thread) makes(l *lane) {
	r := t.callback
	if r == nil || l.parent != &t.home || !l.started.receives() {
		return
	}
	if r.made != nil {
		r.severalMade = true
	}
	r.made = l
}

// receives tells the stack of a protocol that is given what was read (asyncio.Protocol, BufferedProtocol).
func (c *Context) receives() bool {
	for ; c != nil; c = c.parent {
		if strings.HasSuffix(c.fn.Name, "data_received") || strings.HasSuffix(c.fn.Name, "buffer_updated") {
			return true
		}
	}
	return false
}

// answers gives the lane that writes an answer on the thread now; nil where that can't be told: an event loop
// writes for tasks too, and so does a thread that is none of Python's, or has several requests at hand, unless it runs what
// serves them from the call in which it reads them, and so one after the other as they come.
func (t *thread) answers(r *Request) *lane {
	if l := t.lane; l != nil && l != &t.home && (l.kind != callbackLane || l.parent.kind == taskLane) {
		return l
	}
	if t.tasks || t.greenlets || t.other && !t.python || t.passesOn(r) {
		return nil
	}
	if t.shares(r) && !t.loopRuns {
		return nil
	}
	return &t.home
}

// passesOn tells that the thread writes what others answer: it is none of Python's then, and has waited for other
// descriptors since it read the request, or the application tells itself for which request it is called.
func (t *thread) passesOn(r *Request) bool {
	return t.foreign != 0 && t.foreign == r.FirstWrite && (t.process.scoped || t.polled > r.HeadDone)
}

// shares tells that the thread itself reads requests' heads before it answers those that it has.
func (t *thread) shares(r *Request) bool {
	if r.reader != t {
		return false
	}
	for _, other := range t.heads {
		if other.conn != r.conn && other.FirstWrite == 0 {
			r.shared, other.shared = true, true
		}
	}
	return r.shared
}
