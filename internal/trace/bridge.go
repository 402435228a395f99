package trace

import "slices"

// Where threads wait for coroutines: in asgiref, as Django does between its ordinary middleware and its async views, or
// after asyncio.run_coroutine_threadsafe, as in AnyIO's from_thread.run.
const (
	bridgeFile = "/asgiref/sync.py"
	tasksFile  = "/asyncio/tasks.py"
)

// bridge is a lane that waits for a coroutine of which another thread's event loop makes a task: a callback of the loop
// creates that, so its own stack does not tell for whom.
type bridge struct {
	on    *thread
	lane  *lane
	stack *Context
	work  uint64 // Context and job of the lane
	item  uint64
	job   *job // that it does, nil: none
}

// bridge gives that of the lane on the thread. The stack is that of who had the task made.
func (t *thread) bridge() *bridge {
	stack := t.stack
	for at := stack; at != nil; at = at.parent {
		if ofFile(at.fn, bridgeFile, "__call__") {
			stack = at
			break
		}
		if ofFile(at.fn, tasksFile, "run_coroutine_threadsafe") || ofFile(at.fn, futureFile, "result") {
			stack = at.parent
			break
		}
	}
	return &bridge{on: t, lane: t.lane, stack: stack, work: t.work, item: t.item, job: t.doing()}
}

// awaits takes for which coroutine and for which Future the thread waits, 0 for none.
func (t *thread) awaits(now, coroutine, future uint64) {
	t.awaited, t.future = coroutine, future
	if coroutine == 0 && future == 0 {
		t.elsewhere = now
	}
	if t.lane == nil {
		return
	}
	if future != 0 {
		t.awaitsResult(future)
	}
	if coroutine == 0 {
		return
	}
	b := t.bridge()
	l := t.process.tasks[coroutine]
	if l != nil && !l.bridged && l.mayBeBridged() && (t.hasMade(l) || !l.ended && l.isAsgirefs()) {
		b.starts(l)
		return
	}
	// Else it is yet to be made, and what had the address before was another, be it that this lane waited for it too.
	if len(t.process.bridges) >= lanesMax {
		clear(t.process.bridges)
	}
	t.process.bridges[coroutine] = b
}

// mayBeBridged tells a task that a callback has made.
func (l *lane) mayBeBridged() bool {
	return l.parent == nil || l.parent.kind == threadLane || l.parent.kind == callbackLane
}

// isAsgirefs tells a task of asgiref's coroutine, if it has begun.
func (l *lane) isAsgirefs() bool {
	return l.stack == nil || ofFile(l.stack.outermost().function(), bridgeFile, "")
}

// hasMade tells that a task was made since the thread was seen to do something else than to wait for it. What had the
// address of its coroutine or its Future before is older: the thread could not have made another meanwhile without waiting
// for the interpreter.
func (t *thread) hasMade(l *lane) bool { return t.elsewhere != 0 && l.born >= t.elsewhere }

// starts takes that the task was started for the one that waits.
func (b *bridge) starts(l *lane) {
	if l.parent != nil {
		l.parent.kids = slices.DeleteFunc(l.parent.kids, func(kid *lane) bool { return kid == l })
	}
	l.parent, l.started, l.work, l.item, l.bridged, l.forJob = b.lane, b.stack, b.work, b.item, true, b.job
	b.lane.starts(l)
}

// bridged takes a task that was made just now: whoever waits for its coroutine has had it made.
func (p *process) bridged(l *lane, coroutine uint64) {
	b := p.bridges[coroutine]
	if b == nil {
		return
	}
	delete(p.bridges, coroutine)
	if b.on.awaited == coroutine && b.on.state == waiting && l.mayBeBridged() {
		b.starts(l)
	}
}

// promised takes the Future that gets the result of a task that was made just now, 0 for none.
func (p *process) promised(l *lane, future uint64) {
	if future == 0 {
		return
	}
	if len(p.promises) >= lanesMax {
		clear(p.promises)
	}
	p.promises[future], l.future = l, future
	p.fulfils(l)
}

// fulfils takes that a task is made or goes on: its Future is there, and who waits for that has had the task made.
func (p *process) fulfils(l *lane) {
	if l.future == 0 || l.bridged || !l.mayBeBridged() {
		return
	}
	for _, t := range p.threads {
		if t.future == l.future && t.state == waiting && t.lane != nil {
			t.bridge().starts(l)
			return
		}
	}
}

// awaitsResult takes for which Future the thread waits. What the lane did when it had the task made may have run in a
// Context of its own; here it is in its caller's.
func (t *thread) awaitsResult(future uint64) {
	switch l := t.process.promises[future]; {
	case l == nil || !t.hasMade(l):
	case l.bridged && l.parent == t.lane:
		l.work = t.work
	case !l.bridged && l.mayBeBridged():
		t.bridge().starts(l)
	}
}
