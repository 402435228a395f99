package trace

import "apm-ebpf/internal/symbol"

// Goroutine names a goroutine of a Go process.
type Goroutine struct {
	ID      uint64 // 0: not Go
	Address uint64 // of its runtime.g
	Left    uint8  // g.trackingSeq: one more each time it leaves off running, modulo 256
	Enters  uint8  // by how much the system call that it is in has raised Left
}

// goLane turns what is seen of a goroutine into slices of its lane. On a CPU it is seen by samples, which share a
// stretch half-way; elsewhere from outside, every millisecond or so. Between a sample and a sight that it is parked it
// ran for half a period of the samples, unless the sight was sooner than that.
type goLane struct {
	lane
	process *process
	epoch   uint64
	id      uint64

	state  threadState
	stack  *Context // last one seen
	why    Reason   // waiting: for what
	park   *Context // where it was parked last, nil: nowhere
	around *Context // what that has in common with the samples since it was parked there first
	since  uint64   // up to where slices were told
	seen   uint64   // when it was last seen in this state
	told   bool     // running: the stack is that of a sample since then
	fresh  uint64   // running: nothing was seen of it since it had a CPU at this time; 0: something was
	left   uint8    // Goroutine.Left as last known
	untold []slice  // that precede since, with stacks that the next one to be seen will tell
	looks  bool     // it is looked at
	turned uint64   // when a look found that it had gone on since the one before
	exact  bool     // waiting: its thread does, in a system call, and its return will be told
	woken  uint64   // exact: when the thread could have gone on, 0: not yet
	atWork bool     // exact: it was preempted amid its work

	followed uint64 // since when its thread's switches are told, 0: they are not

	statement []*symbol.Func // functions of the go statement that started it, innermost first
	absent    uint64         // when it was not there yet
	timed     bool           // lane.born is as near as looks can tell
	placed    bool           // lane.started and .born were told
	open      int            // requests that it serves
	serves    *Request       // the last of them, nil: it has ended
	served    uint64         // when it began to serve that
	family    int            // goroutines that were started for them
	early     bool           // it was seen before it was known who had started it
	several   bool           // it reads on one connection while another's request waits that it has read
	polled    uint64         // when it last waited for descriptors as event loops do, 0: never
	reads     *conn          // on which it began to read last …
	read      uint64         // … when
	elsewhere uint64         // when it last did on another
	loop      bool           // it is an event loop: it reads for several connections, and may leave it to others to answer
	late      uint64         // after which look the next came too late to tell what it did, the last time that happened
	doubt     uint64         // by how much its time is expected to be wrong, as it was seen late when it began and ended, ns
}

// edge is the most that a goroutine is taken to have run before or after a sample when next it is seen parked: half a
// period of the samples, ns.
const edge = 500_000

// forgetAll has the goroutine be as one that was never seen.
func (g *goLane) forgetAll() {
	g.lane.slices, g.lane.kids = g.lane.slices[:0], nil
	g.state, g.stack, g.since, g.seen, g.told, g.fresh = unseen, nil, 0, 0, false, 0
	g.park, g.around, g.early, g.late, g.doubt = nil, nil, false, 0, 0
	g.untold = g.untold[:0]
	g.looks, g.exact, g.woken, g.turned = false, false, 0, 0
}

// run tells what it did up to a point: on a CPU with the stack of the last sample, or with what the stacks at both ends
// have in common. stack is the one that is seen now, nil: none is.
func (g *goLane) run(to uint64, stack *Context) {
	if !g.told {
		g.pass(to, OnCPU, stack)
		return
	}
	g.lane.add(slice{from: g.since, to: to, stack: g.stack, stacks: 1})
	g.since = max(g.since, to)
}

// pass tells what it did up to a point with what the stack that was seen last and the one that is seen now, or next if that
// is nil, have in common.
func (g *goLane) pass(to uint64, why Reason, stack *Context) {
	if to > g.since {
		g.untold = append(g.untold, slice{from: g.since, to: to, why: why})
		g.since = to
	}
	if stack != nil || len(g.untold) >= untoldMax {
		g.shows(stack)
	}
}

// untoldMax bounds for how many slices the next stack is awaited.
const untoldMax = 64

// shows takes a stack that tells what went before; where it is nil none will.
func (g *goLane) shows(stack *Context) {
	if len(g.untold) == 0 {
		return
	}
	shared := common(g.stack, stack)
	if stack != nil && stack == g.stack && stack == g.park {
		shared = g.around
	}
	for _, s := range g.untold {
		s.stack = shared
		if shared == nil && g.parent != nil && s.why == OnCPU { // it ran, but not the go statement that it hangs under
			s.why = NotSampled
		}
		g.lane.add(s)
	}
	g.untold = g.untold[:0]
}

// parks takes where the goroutine is parked. If it was there before, it has returned from the runtime since, and from
// more than that where samples have shown it.
func (g *goLane) parks(stack *Context) {
	if stack != g.park {
		g.park, g.around = stack, stack.belowRuntime()
	}
}

// runs tells what it did up to a point, at which it runs or has just left off. Where it went without samples for so long
// that it cannot have been on a CPU throughout, that is told as far as it was seen.
func (g *goLane) runs(now uint64, stack *Context) {
	if seen, lapsed := g.lapsed(now); lapsed {
		g.lapses(seen, now, stack)
		return
	}
	g.run(now, stack)
}

// lapses tells that it went without samples for too long after it was last seen to run, up to a point.
func (g *goLane) lapses(seen, to uint64, stack *Context) {
	g.run(min(seen+edge, to), stack)
	g.pass(to, NotSampled, stack)
}

// ranOn tells that it ran up to when it had a CPU last.
func (g *goLane) ranOn(stack *Context) {
	if g.fresh != 0 {
		g.run(g.fresh, stack)
	}
}

// lapsed tells when the goroutine was last seen to run, and whether that is too long ago for it to have run since. While
// no samples were taken none can be missing, if that was not for long.
func (g *goLane) lapsed(now uint64) (seen uint64, lapsed bool) {
	seen = g.seen
	if g.looks {
		seen = max(seen, min(g.process.looked, now))
	}
	from := seen
	if clocks := g.process.clocks; clocks > seen && clocks <= seen+tooLate {
		from = clocks
	}
	return seen, g.process.lapse != 0 && now > from+g.process.lapse
}

// wasAway tells of a goroutine that is found to run that it has been parked since it had a CPU, unseen, and that it matters for
// how long. Where system calls count as leaving off, nothing tells.
func (g *goLane) wasAway(now uint64, left uint8) bool {
	return g.state == running && g.fresh != 0 && left != g.left && g.process.enters == 0 && now > g.fresh+missedMax
}

// away tells that it is not known what it did until shortly before it was found to run again.
func (g *goLane) away(now uint64, stack *Context) {
	g.ranOn(stack)
	g.pass(now-edge, NotSampled, stack)
}

// wait tells that it waited up to a point.
func (g *goLane) wait(to uint64) {
	woken := to
	if g.woken != 0 {
		woken = min(max(g.woken, g.since), to)
	}
	g.lane.add(slice{from: g.since, to: woken, stack: g.stack, why: g.why, stacks: 1})
	g.lane.add(slice{from: woken, to: to, stack: g.stack, why: RunQueue})
	g.since = max(g.since, to)
	g.woken = 0
}

// goesOn tells the wait that was over when the goroutine was seen to run.
func (g *goLane) goesOn(now uint64) {
	if !g.exact {
		now -= min(g.unheld(now)/2, edge)
	}
	g.wait(now)
	g.exact = false
}

// held is up to when a wait is known to have lasted that was over at a point: the last look before.
func (g *goLane) held(now uint64) uint64 {
	return min(max(g.seen, g.process.looked), now)
}

// unheld is for how long it is not known that a wait has lasted, ns. Where that is too long it is kept in mind.
func (g *goLane) unheld(now uint64) uint64 {
	if !g.looks || g.exact {
		return 0
	}
	held := g.held(now)
	if now-held > tooLate {
		g.late = held
	}
	return now - held
}

// begins takes that the goroutine is seen for the first time, or again after it was forgotten.
func (g *goLane) begins(now uint64) {
	if g.state == unseen && g.since == 0 {
		g.since = now
	}
}

// sample takes a stack with which the goroutine is on a CPU.
func (g *goLane) sample(now uint64, left uint8, stack *Context) {
	g.begins(now)
	if g.hasWorked(now, stack) {
		g.worksInCall(g.stack)
	}
	switch seen, lapsed := g.lapsed(now); {
	case g.state == waiting:
		g.goesOn(now)
	case g.state == running && lapsed:
		g.lapses(seen, now-edge, stack)
	case g.wasAway(now, left):
		g.away(now, stack)
	case g.told:
		g.run(g.seen+(now-min(g.seen, now))/2, nil)
	default:
		g.ranOn(stack)
	}
	g.shows(stack)
	if g.park != nil {
		g.around = common(g.around, stack)
	}
	g.state, g.stack, g.seen, g.told, g.fresh = running, stack, now, true, 0
	g.left = left
	g.process.trim(&g.lane)
}

// cut takes that the goroutine reads or writes: it runs.
func (g *goLane) cut(now uint64, as Goroutine) {
	g.begins(now)
	switch {
	case g.state == waiting: // and has hardly run since, or there would be a sample
		g.unheld(now)
		g.wait(now)
		g.told, g.exact = false, false
	case g.fresh == 0:
		g.runs(now, nil)
	case as.Left-g.left != as.Enters: // nothing was seen of it, and it has left off running
		g.ranOn(nil)
		g.pass(now, NotSampled, nil)
	}
	g.state, g.seen, g.told, g.fresh, g.left = running, now, false, now, as.Left
}

// leave takes that the goroutine's thread leaves its CPU in a system call.
func (g *goLane) leave(now uint64, left uint8, stack *Context, why Reason) {
	g.begins(now)
	switch {
	case g.state == waiting:
		g.goesOn(now)
		g.told = false
	case g.wasAway(now, left):
		g.away(now, stack)
	}
	g.runs(now, stack)
	g.shows(stack)
	g.state, g.stack, g.why, g.seen, g.fresh = waiting, stack, why, now, 0
	g.exact, g.woken, g.atWork = true, 0, false
	if why == Poll && stack.waitsAsLoop() {
		g.polled = now
	}
	g.left = left
	if why != RunQueue {
		g.parks(stack)
	}
	g.process.trim(&g.lane)
}

// preempt takes that the goroutine's thread loses its CPU amid its work: the stack is as good as a sample's, and it goes on
// from there.
func (g *goLane) preempt(now uint64, left uint8, stack *Context) {
	g.sample(now, left, stack)
	g.leave(now, left, stack, RunQueue)
	g.atWork = true
}

// wake takes the moment from which its thread may run again.
func (g *goLane) wake(now uint64) {
	if g.exact && g.woken == 0 {
		g.woken = now
	}
}

// resume takes that its thread is on a CPU again.
func (g *goLane) resume(now uint64) {
	if g.exact {
		g.goesOn(now)
		g.state, g.seen, g.told, g.fresh = running, now, g.atWork, now
		if g.atWork {
			g.fresh = 0
		}
	}
}

// settle tells everything up to now, for a request that ends there.
func (g *goLane) settle(now uint64) {
	switch {
	case now <= g.since || g.ended:
	case g.state == running:
		g.runs(now, nil)
	case g.state == waiting:
		g.doubt += g.unheld(now) / 4 // it may be over already
		woken := g.woken
		g.wait(now)
		g.woken = woken
	}
	g.shows(nil)
	for _, kid := range g.kids {
		if kid.of != nil && !kid.claimed {
			kid.of.precedesKids()
			g.place(kid.of)
			kid.of.settle(now)
		}
	}
}
