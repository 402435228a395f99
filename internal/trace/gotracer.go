package trace

import "apm-ebpf/internal/goroutine"

// GoSample takes the stack of a goroutine seen on a CPU.
func (t *Tracer) GoSample(pid uint32, goid, now uint64, s *Stack) {
	if p := t.processes[pid]; p.watched() {
		p.goroutine(goid).sample(now, p.contexts.path(s.Frames))
	}
}

// GoSwitchOut takes the stack of a goroutine whose thread leaves its CPU in a system call.
func (t *Tracer) GoSwitchOut(pid, tid uint32, goid, now uint64, s *Stack, why Reason) {
	p := t.processes[pid]
	if !p.watched() {
		return
	}
	g := p.goroutine(goid)
	g.leave(now, p.contexts.path(s.Frames), why)
	p.offCPU[tid] = g
}

// GoSight takes what a goroutine was seen doing from outside, which may be ahead of events but not of other sights of it.
// stack is what was read with it, nil for none; started are the functions of the go statement that started it, outermost
// first, which are asked for where Parent is told.
func (t *Tracer) GoSight(pid uint32, s *goroutine.Sight, stack *Stack, started []Frame) {
	p := t.processes[pid]
	if !p.watched() || s.State == goroutine.Dead && p.byID[s.GoID] == nil {
		return
	}
	if s.Parent != 0 {
		p.starts(s, started)
	}
	g := p.goroutine(s.GoID)
	sight := goSight{time: s.Time, after: s.After, state: s.State, left: s.Left}
	switch s.State {
	case goroutine.Waiting:
		sight.why = goReason(s.Why)
	case goroutine.Runnable:
		sight.why = RunQueue
	case goroutine.Syscall:
		sight.why = Blocked
	}
	if stack != nil {
		sight.stack = p.contexts.path(stack.Frames)
	}
	g.ahead = append(g.ahead, sight)
	if len(g.ahead) > aheadMax {
		g.catchUp(g.ahead[aheadMax/2].time)
	}
}

// GoLooked takes that the goroutines which are watched were all looked at: those that GoSight did not tell since are as
// it told them last. lowered tells that this happens too rarely for precise times.
func (t *Tracer) GoLooked(pid uint32, now uint64, lowered bool) {
	p := t.processes[pid]
	if p == nil {
		return
	}
	p.looked = now
	if lowered {
		p.lowered = now
	}
}

// Goroutines tells which goroutines are to be watched from now on, since they serve requests that were read before a
// point in time, and which no longer, ahead of those.
func (t *Tracer) Goroutines(pid uint32, before uint64, watch func(Goroutine), unwatch func(goid uint64)) {
	p := t.processes[pid]
	if p == nil {
		return
	}
	for _, goid := range p.unwatch {
		unwatch(goid)
	}
	p.unwatch = p.unwatch[:0]
	n := 0
	for n < len(p.young) && p.young[n].Start <= before {
		r := p.young[n]
		n++
		if g := r.goroutine; g != nil && !r.watched {
			r.watched = true
			g.watched++
			watch(r.by)
		}
	}
	p.young = p.young[:copy(p.young, p.young[n:])]
}
