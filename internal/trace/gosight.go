package trace

import "apm-ebpf/internal/goroutine"

// catchUp takes the sights up to a point in time, which events have reached now.
func (g *goLane) catchUp(now uint64) {
	n := 0
	for n < len(g.ahead) && g.ahead[n].time <= now {
		s := g.ahead[n]
		n++
		g.see(&s)
	}
	if n > 0 {
		g.ahead = g.ahead[:copy(g.ahead, g.ahead[n:])]
	}
}

// see takes a sight.
func (g *goLane) see(s *goSight) {
	if g.state == unseen && g.since == 0 {
		g.since = s.time
	}
	after := min(max(s.after, g.seen), s.time) // up to when it was as it was told before
	middle := after + (s.time-after)/2
	switch s.state {
	case goroutine.Running:
		g.seesRunning(s.time, middle)
	case goroutine.Dead:
		g.dies(middle)
	default:
		g.seesParked(s, after, middle)
	}
}

// seesRunning takes that the goroutine runs, with a stack that cannot be read.
func (g *goLane) seesRunning(now, middle uint64) {
	switch {
	case g.exact:
		return // its system call returns just now, which will be told
	case g.state == waiting:
		g.wait(middle)
		g.told = false
	}
	g.state, g.seen = running, now
}

// seesParked takes that the goroutine is off its thread, or in a system call.
func (g *goLane) seesParked(s *goSight, after, middle uint64) {
	if g.exact && s.state == goroutine.Syscall {
		return
	}
	stack := s.stack
	if stack == nil {
		stack = g.stack
	}
	switch {
	case g.state == waiting:
		g.wait(middle)
	case g.state == running:
		g.parks(s, after, middle, stack)
	}
	g.state, g.stack, g.why, g.seen, g.told, g.exact, g.fresh = waiting, stack, s.why, s.time, false, false, 0
	g.trim()
}

// parks tells what the goroutine did until it was seen parked.
func (g *goLane) parks(s *goSight, after, middle uint64, stack *Context) {
	switch {
	case g.told:
		g.run(min(after+edge, middle), nil)
	case g.fresh == 0:
		g.run(middle, stack)
	case s.left > 1 && s.left != goroutine.NotKnown: // and has been parked in between
		g.lane.add(slice{from: g.since, to: middle, stack: common(nil, stack), why: NotSampled})
		g.since = max(g.since, middle)
	}
}

// dies takes that the goroutine is no more.
func (g *goLane) dies(at uint64) {
	switch g.state {
	case waiting:
		g.wait(at)
	case running:
		g.run(at, nil)
	}
	g.state, g.ended = unseen, true
	delete(g.process.byID, g.id)
	if g.claimed {
		g.lane.drop()
	}
}
