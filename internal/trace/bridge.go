package trace

// bridgeFile is where asgiref has threads wait for coroutines, as Django does between its ordinary middleware and its
// async views.
const bridgeFile = "/asgiref/sync.py"

// bridge is a lane that waits for a coroutine of which another thread's event loop makes a task: a callback of the loop
// creates that, so its own stack does not tell for whom.
type bridge struct {
	on    *thread
	lane  *lane
	stack *Context
	work  uint64 // Context and job of the lane
	item  uint64
}

// awaits takes for which coroutine the thread waits, 0 for none.
func (t *thread) awaits(coroutine uint64) {
	t.awaited = coroutine
	if coroutine == 0 || t.lane == nil {
		return
	}
	stack := t.stack
	for stack != nil && !ofFile(stack.fn, bridgeFile, "__call__") {
		stack = stack.parent
	}
	b := &bridge{on: t, lane: t.lane, stack: stack, work: t.work, item: t.item}
	switch l := t.process.tasks[coroutine]; {
	case l != nil && l.parent == b.lane: // it is known
	case l != nil && !l.ended && !l.bridged && l.mayBeBridged():
		b.starts(l)
	default: // it is yet to be made, and what had the address before was another
		if len(t.process.bridges) >= lanesMax {
			clear(t.process.bridges)
		}
		t.process.bridges[coroutine] = b
	}
}

// mayBeBridged tells a task that a callback has made, of asgiref's coroutine if it has begun.
func (l *lane) mayBeBridged() bool {
	made := l.parent == nil || l.parent.kind == threadLane
	return made && (l.stack == nil || ofFile(l.stack.outermost().function(), bridgeFile, ""))
}

// starts takes that the task was started for the one that waits.
func (b *bridge) starts(l *lane) {
	l.parent, l.started, l.work, l.item, l.bridged = b.lane, b.stack, b.work, b.item, true
	b.lane.starts(l)
}

// bridged takes a task that was made just now: whoever waits for its coroutine has had it made.
func (p *process) bridged(l *lane, coroutine uint64) {
	b := p.bridges[coroutine]
	if b == nil {
		return
	}
	delete(p.bridges, coroutine)
	if b.on.awaited == coroutine && l.mayBeBridged() {
		b.starts(l)
	}
}
