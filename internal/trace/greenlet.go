package trace

import "apm-ebpf/internal/symbol"

// ownsThread tells a function that is outermost on a thread's own stack.
func ownsThread(fn *symbol.Func) bool {
	return fn.Name == "<module>" || fn.Name == "_run_module_as_main" || ofFile(fn, threadFile, "_bootstrap")
}

// runsLoop takes a stack with a task below the thread's outermost function. Where that is of the thread's own stack, its
// greenlets are others: those in which tasks run what waits without await, as SQLAlchemy does.
func (t *thread) runsLoop(s *Stack) {
	if s.Root != t.root && ownsThread(s.Frames[0].Func) {
		t.root = s.Root
	}
}

// isOwn tells the thread's own stack, which runs its event loop, from that of a greenlet.
func (t *thread) isOwn(s *Stack) bool {
	if t.root == 0 || s.Root != t.root || len(s.Frames) == 0 || !ownsThread(s.Frames[0].Func) {
		return false
	}
	l := t.process.objects[t.object]
	return l == nil || l.born == 0
}

// greenletOf gives the lane of a greenlet's stack: of the object that came to the thread, where that was told. One that
// is known by its outermost frame alone is taken for that object, one of another object had the address before.
func (t *thread) greenletOf(root uint64, stack *Context) *lane {
	p := t.process
	if l := p.objects[t.object]; l != nil {
		return l
	}
	l := p.greenlets[root]
	if l == nil || t.object != 0 && (l.object != 0 || l.stack.outermost().function() != stack.outermost().function()) {
		l = &lane{kind: greenletLane}
		p.greenlets[root] = l
	}
	if t.object != 0 {
		l.object = t.object
		p.objects[t.object] = l
	}
	return l
}

// runsGreenlets takes that the thread runs greenlets. What was seen of it so far was the one that runs.
func (t *thread) runsGreenlets(s *Stack) {
	if t.greenlets {
		return
	}
	t.greenlets = true
	home := &t.home
	if t.lane != home || s.Root == 0 || t.isOwn(s) {
		return
	}
	l := t.greenletOf(s.Root, t.process.contexts.path(s.Frames))
	l.slices, l.kids, l.jobs, l.stack, l.begun, l.on = home.slices, home.kids, home.jobs, home.stack, true, t
	for _, kid := range l.kids {
		kid.parent = l
	}
	for _, j := range l.jobs {
		j.giver = l
		t.process.greenJobs = t.process.greenJobs || j.stack.submits()
	}
	home.slices, home.kids, home.jobs = nil, nil, nil
	t.lane = l
}

// greenletLeaves takes the moment at which a greenlet gives its thread to another, which object names.
func (t *thread) greenletLeaves(now uint64, s *Stack, object uint64) {
	t.runsGreenlets(s)
	if t.state == waiting {
		t.resume(now)
	}
	if s.Root == 0 && !s.Broken {
		t.greenletEnds(now)
	} else {
		stack := t.see(now, s)
		if t.state == unseen {
			t.state, t.since = running, now
		}
		t.goesTo(s.Item)
		t.runTo(now, stack)
		t.runs(s.Item)
		t.lane.stack, t.lane.doing = stack, t.item
		if t.lane != &t.home {
			t.lane.suspend(now, now)
			t.lane.fetches = t.lane.fetches || stack.waitsForGiver()
			t.process.trim(t.lane)
		}
		if t.process.greenPools && stack.awaitsResult() && !t.lane.submitted() {
			t.lane.unsure = now // which of them works for it nothing tells
		}
	}
	t.lane, t.since, t.switched, t.seen, t.stack = nil, now, now, 0, nil
	t.object = object
	t.leaver = s.Root
}

// goesTo takes for which job the greenlet leaves, 0 for none: that is what it did since it came unless it did another then, or
// a sample tells.
func (t *thread) goesTo(item uint64) {
	switch {
	case t.seen != 0:
	case t.item == 0:
		t.runs(item)
	case item != 0 && item != t.item:
		t.item = 0
	}
}

// switching tells that the stack is still that of the greenlet which has told that it leaves: the interpreter has the
// other's only when the switch is done.
func (t *thread) switching(s *Stack) bool { return t.leaver != 0 && s.Root == t.leaver }

// comes puts the greenlet that comes on the thread, where the switch was told, and gives where it goes on; nil where
// that is not known yet.
func (t *thread) comes() *Context {
	l := t.process.objects[t.object]
	if t.lane == nil && l != nil && l.begun {
		t.take(l, t.switched)
	}
	if t.lane == nil {
		return nil
	}
	return t.lane.stack
}

// greenletEnds takes that the greenlet on the thread has returned from its outermost function.
func (t *thread) greenletEnds(now uint64) {
	l := t.process.objects[t.object]
	if l == nil {
		l = t.lane
	}
	if l == nil || l.kind != greenletLane {
		return
	}
	if t.lane == nil { // it came and went unseen in between
		t.take(l, t.switched)
	}
	if t.lane == l {
		t.runTo(now, nil)
	}
	l.suspended, l.begun, l.ended = 0, true, true
	if l.claimed {
		l.drop()
	}
	delete(t.process.objects, l.object)
}
