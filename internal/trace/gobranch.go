package trace

import "apm-ebpf/internal/goroutine"

// generations bounds how many goroutines may have started each other in a row.
const generations = 64

// starts takes the first sight of a goroutine that another has started for an open request.
func (p *process) starts(s *goroutine.Sight, statement []Frame) {
	root, parent, child := p.byID[s.Root], p.byID[s.Parent], p.byID[s.GoID]
	if root == nil || root.open == 0 || parent == nil || root.family >= branchLimit {
		return
	}
	if child != nil && (child.parent != nil || child.open > 0 || child.isAbove(parent)) {
		return
	}
	child = p.goroutine(s.GoID)
	child.born = parent.startedBy(max(s.After, root.served), s.Time)
	child.parent, child.lane.started = &parent.lane, parent.place(statement)
	if child.since == 0 || child.since > child.born {
		child.since = child.born
	}
	parent.lane.starts(&child.lane)
	root.family++
}

// isAbove tells that a goroutine is this one or descends from it.
func (g *goLane) isAbove(other *goLane) bool {
	for range generations {
		switch {
		case other == g:
			return true
		case other.parent == nil:
			return false
		}
		other = other.parent.of
	}
	return true
}

// startedBy tells when the goroutine started another that was seen first at now, and not there yet at after: half-way, or
// before it parked, if it has not left off that since.
func (g *goLane) startedBy(after, now uint64) uint64 {
	after = min(after, now)
	at := after + (now-after)/2
	if parked, ok := g.parkedSince(); ok {
		at = min(at, max(after, parked))
	}
	return at
}

// parkedSince tells since when the goroutine is parked, if it is.
func (g *goLane) parkedSince() (since uint64, ok bool) {
	n := len(g.ahead)
	if n == 0 {
		return g.since, g.state == waiting
	}
	last := &g.ahead[n-1]
	if last.state == goroutine.Running || last.state == goroutine.Dead {
		return 0, false
	}
	if n == 1 && g.fresh != 0 && last.left <= 1 {
		return g.fresh, true
	}
	return last.after + (last.time-min(last.after, last.time))/2, true
}

// place tells where in the goroutine's stack the function of a go statement is; its outermost function where that has
// returned.
func (g *goLane) place(statement []Frame) *Context {
	stack := g.stack
	for i := range g.ahead {
		if s := g.ahead[i].stack; s != nil {
			stack = s
		}
	}
	for i := len(statement) - 1; i >= 0; i-- {
		for x := stack; x != nil; x = x.parent {
			if x.fn == statement[i].Func {
				return x
			}
		}
	}
	return stack.outermost()
}

// disown forgets what the goroutine started: it was for a request that has ended.
func (g *goLane) disown() {
	for _, kid := range g.kids {
		if kid.of != nil {
			delete(g.process.byID, kid.of.id)
			kid.of.disown()
		}
	}
	g.kids, g.family = nil, 0
}
