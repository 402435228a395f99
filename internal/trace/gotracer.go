package trace

import "apm-ebpf/internal/goroutine"

// SamplesSince takes that samples are taken from a point on: a request that wakes the agent began earlier.
func (t *Tracer) SamplesSince(now uint64) {
	t.clocks = now
	for _, p := range t.processes {
		p.clocks = now
	}
}

// GoSample takes the stack of a goroutine seen on a CPU, nil where that is torn: here and below it is taken to be as before.
func (t *Tracer) GoSample(pid uint32, by Goroutine, now uint64, s *Stack) {
	if p := t.processes[pid]; s != nil && p.watched() {
		p.goroutine(by.ID).sample(now, by.Left, p.contexts.path(s.Frames))
	}
}

// GoSwitchOut takes the stack of a goroutine whose thread leaves its CPU in a system call.
func (t *Tracer) GoSwitchOut(pid, tid uint32, by Goroutine, now uint64, s *Stack, why Reason) {
	if p := t.processes[pid]; p.watched() {
		p.offCPU[tid] = p.goroutine(by.ID)
		p.offCPU[tid].leave(now, by.Left, p.offCPU[tid].pathOf(s), why)
	}
}

// GoPreempted takes the stack of a goroutine whose thread loses its CPU amid its work.
func (t *Tracer) GoPreempted(pid, tid uint32, by Goroutine, now uint64, s *Stack) {
	if p := t.processes[pid]; p.watched() {
		p.offCPU[tid] = p.goroutine(by.ID)
		p.offCPU[tid].preempt(now, by.Left, p.offCPU[tid].pathOf(s))
	}
}

// pathOf gives the path of a stack, where that is nil the last one's.
func (g *goLane) pathOf(s *Stack) *Context {
	if s == nil {
		return g.stack
	}
	return g.process.contexts.path(s.Frames)
}

// GoSight takes what a goroutine was seen doing from outside. stack is what was read with it, nil for none; statement are
// the functions of the go statement that started it, outermost first, which are asked for where Parent is told.
func (t *Tracer) GoSight(pid uint32, s *goroutine.Sight, stack *Stack, statement []Frame) {
	p := t.processes[pid]
	if !p.watched() || s.State == goroutine.Dead && p.byID[s.GoID] == nil {
		return
	}
	if s.Parent != 0 {
		p.starts(s, statement)
	}
	var path *Context
	if stack != nil {
		path = p.contexts.path(stack.Frames)
	}
	p.goroutine(s.GoID).see(s, path)
}

// late is what a sample may be late by, ns.
const late = 1_000_000

// tooLate is the time between two looks, or without any and without samples, from which on those who were looked at are told
// imprecisely, ns: on a busy machine the agent may have to wait for a CPU.
const tooLate = 4_000_000

// GoLooked takes that the goroutines which are watched were all looked at: those that GoSight did not tell since are as
// it told them last. searched is when those were last searched for that they had started, 0: never. lowered tells that looks
// are too rare for precise times.
func (t *Tracer) GoLooked(pid uint32, now, searched uint64, lowered bool) {
	p := t.processes[pid]
	if p == nil {
		return
	}
	if now-min(p.looked, now) > tooLate {
		p.looksLate()
	}
	p.endLook()
	p.searched(searched)
	p.looked = now
	if lowered {
		p.lowered = now
	}
}
