package trace

import "apm-ebpf/internal/goroutine"

// see takes a sight. stack is what was read with it, nil where it is as before.
func (g *goLane) see(s *goroutine.Sight, stack *Context) {
	g.begins(s.Time)
	g.looks = true
	if s.After != 0 {
		g.turned = s.Time
	}
	after := min(max(s.After, g.seen), s.Time) // up to when it was as it was told before
	middle := after + (s.Time-after)/2
	if stack == nil {
		stack = g.stack
	}
	if s.Time-after > tooLate && (g.state == waiting && !g.exact || g.state == running && !g.told && g.fresh == 0) {
		g.late = after
	}
	switch s.State {
	case goroutine.Running:
		g.seesRunning(s.Time, middle, s.Seq)
	case goroutine.Dead:
		g.doubt += (s.Time - after) / 4
		g.dies(middle)
	default:
		g.seesParked(s, after, middle, stack)
	}
}

// seesRunning takes that the goroutine runs, with a stack that cannot be read.
func (g *goLane) seesRunning(now, middle uint64, seq uint8) {
	switch {
	case g.exact:
		return // its system call returns just now, which will be told
	case g.state == waiting:
		g.wait(middle)
		g.told = false
	case g.wasAway(now, seq):
		g.away(now, nil)
	}
	g.state, g.seen, g.left, g.fresh = running, now, seq, 0
}

// seesParked takes that the goroutine is off its thread, or in a system call.
func (g *goLane) seesParked(s *goroutine.Sight, after, middle uint64, stack *Context) {
	if g.exact && s.State == goroutine.Syscall {
		return
	}
	if s.After > g.fresh { // and found to run on then
		g.fresh = 0
	}
	left := s.Left
	if g.told || g.fresh != 0 && left != goroutine.NotKnown {
		left = s.Seq - g.left
	}
	g.ranOn(stack)
	missed := left > 1 && left != goroutine.NotKnown // it has been parked in between
	switch {
	case g.state == waiting:
		g.wait(middle)
	case g.state == running && missed && (g.fresh != 0 || s.Time-after > tooLate):
		if g.told {
			g.run(min(after+edge, middle), nil)
		}
		g.pass(middle, NotSampled, stack)
	case g.state == running && g.told:
		if s.Parent != 0 && s.Time-after > tooLate { // it may have been preempted, of which nothing is told yet
			g.late = after
		}
		g.run(min(after+edge, middle), nil)
	case g.state == running && g.fresh == 0:
		g.run(middle, stack)
	}
	g.shows(stack)
	g.state, g.stack, g.why, g.seen, g.told, g.exact, g.fresh = waiting, stack, parkedFor(s), s.Time, false, false, 0
	g.left = s.Seq
	switch {
	case s.State == goroutine.Waiting:
		g.parks(stack)
	case s.State == goroutine.Syscall && g.toldToWait(s):
		g.worksInCall(stack)
	}
	g.process.trim(&g.lane)
}

// toldToWait tells that it would be known if the goroutine waited in the system call in which it was seen: its thread's
// switches were told before it made that.
func (g *goLane) toldToWait(s *goroutine.Sight) bool {
	return g.followed != 0 && s.Parent == 0 && (s.After == 0 || s.After >= g.followed)
}

// worksInCall takes that the goroutine runs in what looks like a system call, as C does: the stack is as good as a sample's.
func (g *goLane) worksInCall(stack *Context) {
	g.state, g.told = running, true
	if g.park != nil {
		g.around = common(g.around, stack)
	}
}

// hasWorked tells of a goroutine that was first seen in a call, in which it may have waited, and is found to run there: so soon
// that it may have run all the time.
func (g *goLane) hasWorked(now uint64, stack *Context) bool {
	return g.state == waiting && g.why == Blocked && !g.exact && now <= g.seen+g.process.period+late &&
		g.stack != nil && common(g.stack, stack) == g.stack
}

// parkedFor tells what a goroutine that is not running waits for.
func parkedFor(s *goroutine.Sight) Reason {
	switch s.State {
	case goroutine.Waiting:
		return goReason(s.Why)
	case goroutine.Runnable:
		return RunQueue
	}
	return Blocked
}

// dies takes that the goroutine is no more.
func (g *goLane) dies(at uint64) {
	switch g.state {
	case waiting:
		g.wait(at)
	case running:
		if g.told && g.process.period != 0 { // or there had been another sample
			at = min(at, max(g.seen, g.process.looked)+g.process.period/2)
		}
		g.run(at, nil)
	}
	g.shows(nil)
	g.state, g.ended = unseen, true
	delete(g.process.byID, g.id)
	g.process.died = append(g.process.died, g)
	if g.claimed {
		g.lane.drop()
	}
}
