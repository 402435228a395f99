package trace

import (
	"slices"

	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/symbol"
)

// generations bounds how many goroutines may have started each other in a row.
const generations = 64

// starts takes the first sight of a goroutine that another has started for an open request.
func (p *process) starts(s *goroutine.Sight, statement []Frame) {
	root, child := p.rootOf(s), p.byID[s.GoID]
	if root == nil && p.loops { // it may be told later in the same look
		root = p.goroutine(s.Root)
	}
	if root == nil || root.open == 0 && !p.loops || root.family >= branchLimit {
		return
	}
	parent := p.starter(s.Parent)
	if child != nil && (child.parent != nil || child.open > 0 || child.isAbove(parent)) {
		return
	}
	child = p.goroutine(s.GoID)
	child.isFollowed(s.Time)
	if child.state != unseen && child.first() < root.served {
		return // an earlier request had it started
	}
	child.parent, child.absent = &parent.lane, min(max(s.After, root.served), s.Time)
	child.born = child.absent + (s.Time-child.absent)/2
	child.doubt = (s.Time - child.absent) / 4
	if child.state == unseen {
		child.since = child.born
	} else {
		child.doubt = (child.first() - min(child.absent, child.first())) / 4
		child.beganUnseen(p.period)
	}
	p.found = append(p.found, child)
	if parent.loop { // for a request that it has read: who answers will tell for which
		child.parent = nil
		return
	}
	for i := len(statement) - 1; i >= 0; i-- {
		child.statement = append(child.statement, statement[i].Func)
	}
	parent.lane.starts(&child.lane)
	root.family++
}

// rootOf gives the goroutine at work for a request that another descends from, else the one that is told to be looked at with it,
// which may be the starter of all.
func (p *process) rootOf(s *goroutine.Sight) *goLane {
	for g := p.byID[s.Parent]; g != nil; g = g.parent.of {
		if g.open > 0 {
			return g
		}
		if g.parent == nil {
			break
		}
	}
	return p.byID[s.Root]
}

// isFollowed takes that the switches of its thread are told from a point on.
func (g *goLane) isFollowed(since uint64) {
	if g.followed == 0 {
		g.followed = since
	}
}

// beganUnseen takes that samples have told of the goroutine before it was known who had started it. It ran for half of their
// period, ns, before the first; what was before that is not known.
func (g *goLane) beganUnseen(period uint64) {
	if len(g.untold) > 0 {
		g.shows(nil)
	}
	first := g.first()
	ran := max(first-min(period/2, first), min(g.absent, first))
	switch {
	case len(g.slices) == 0:
		g.since = ran
	case g.slices[0].why == OnCPU:
		g.slices[0].from = ran
		g.slices[0].time += first - ran
	default:
		ran = first
	}
	g.born = min(g.born, ran)
	g.early = true
	g.goesBefore(g.born, ran)
}

// goesBefore puts before all that is known of it what is not.
func (g *goLane) goesBefore(from, to uint64) {
	if to > from {
		g.slices = slices.Insert(g.slices, 0, slice{from: from, to: to, time: to - from, why: NotSampled})
	}
}

// first is when the goroutine was first seen.
func (g *goLane) first() uint64 {
	switch {
	case len(g.slices) > 0:
		return g.slices[0].from
	case len(g.untold) > 0:
		return g.untold[0].from
	}
	return g.since
}

// starter gives the lane of a goroutine that has started another. The same look may have told its end before, or tell of
// it yet.
func (p *process) starter(id uint64) *goLane {
	if p.byID[id] != nil {
		return p.goroutine(id)
	}
	for _, g := range p.died {
		if g.id == id {
			return g
		}
	}
	return p.goroutine(id)
}

// endLook takes that all goroutines which are watched were looked at.
func (p *process) endLook() {
	for _, kid := range p.found {
		kid.timed = kid.parent != nil && kid.parent.of.turned > p.looked
	}
	clear(p.found)
	clear(p.died)
	p.found, p.died = p.found[:0], p.died[:0]
}

// looksLate takes that the look which ends comes too late after the one before. What was parked all the time is not told worse
// for that; what has run may have waited or started others unseen.
func (p *process) looksLate() {
	for _, g := range p.byID {
		if g.state == running || g.seen > p.looked {
			g.late = p.looked
		}
	}
	for _, g := range p.died {
		g.late = p.looked
	}
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

// place tells when the goroutine started another and where: under the function of the go statement, else under the
// outermost. It did so before it was parked, if it was already when the other is thought to have begun, unless it was
// seen to have gone on about then.
func (g *goLane) place(kid *goLane) {
	if kid.placed {
		return
	}
	kid.placed = true
	if kid.born < g.born { // it cannot have been
		kid.begunSince(g.born)
	}
	for i := range g.slices {
		s := &g.slices[i]
		if !kid.timed && s.from <= kid.born && kid.born < s.to && s.why != OnCPU && s.why != Unknown {
			kid.beginsBefore(s.from)
			break
		}
	}
	for i := range g.slices {
		s := &g.slices[i]
		if x := s.stack.holds(kid.statement); x != nil && s.to >= kid.absent {
			kid.started = x
			return
		}
		if s.stack != nil {
			kid.started = s.stack.outermost()
		}
	}
}

// precedesKids takes that the goroutine was started before those that it has started, of which samples may have told earlier, and
// which a search may find that has read where the goroutine was to be before that began.
func (g *goLane) precedesKids() {
	if g.placed {
		return
	}
	for _, kid := range g.kids {
		if kid.of != nil && !kid.claimed {
			kid.of.precedesKids()
			g.beginsBefore(kid.born)
		}
	}
}

// beginsBefore takes that the goroutine was started before a point, though not earlier than possible.
func (g *goLane) beginsBefore(at uint64) {
	at = max(at, g.absent)
	if at >= g.born {
		return
	}
	if g.early {
		g.goesBefore(at, g.born)
	} else if len(g.slices) > 0 && g.slices[0].from == g.born {
		g.slices[0].from = at
		g.slices[0].time += g.born - at
	}
	if g.since == g.born {
		g.since = at
	}
	g.born = at
}

// holds gives the path to the innermost of the functions, which come innermost first, that is on the path.
func (c *Context) holds(functions []*symbol.Func) *Context {
	for _, fn := range functions {
		for x := c; x != nil; x = x.parent {
			if x.fn == fn {
				return x
			}
		}
	}
	return nil
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
