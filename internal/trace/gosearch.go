package trace

import "slices"

// searches tell when goroutines were searched for that others had started. What begins and ends between two is seen by
// nobody but the samples.
type searches struct {
	last   uint64    // when the last one began, 0: none has
	missed []stretch // between two of them, where that is long enough to matter, the earliest first
}

// stretch is one of time, ns.
type stretch struct{ from, to uint64 }

// stretchesMax bounds how many are kept in mind.
const stretchesMax = 256

// searched takes that the last search began at a point.
func (p *process) searched(at uint64) {
	s := &p.searches
	if at > s.last+tooLate {
		if len(s.missed) == stretchesMax {
			oldest := p.oldest()
			s.missed = slices.DeleteFunc(s.missed, func(m stretch) bool { return m.to <= oldest })
			s.missed = slices.Delete(s.missed, 0, len(s.missed)-min(len(s.missed), stretchesMax/2))
		}
		s.missed = append(s.missed, stretch{s.last, at})
	}
	s.last = at
}

// unsought is for how long in a window the goroutine waited for others, of which none is known that it has started, while
// these were not searched for, ns.
func (g *goLane) unsought(from, to uint64) (time uint64) {
	s := &g.process.searches
	if s.last == 0 {
		return 0
	}
	if to > s.last+tooLate {
		time = g.waitsAlone(max(from, s.last), to)
	}
	for _, m := range slices.Backward(s.missed) {
		if m.to <= from {
			break
		}
		time += g.waitsAlone(max(from, m.from), min(to, m.to))
	}
	return time
}

// waitsAlone is for how long between two points the goroutine waited for others, of which none is known that it has started.
func (g *goLane) waitsAlone(from, to uint64) (time uint64) {
	for i := range g.slices {
		s := &g.slices[i]
		if why := s.why.General(); why != Chan && why != Lock {
			continue
		}
		if from, to := max(from, s.from), min(to, s.to); from < to && !g.hasKid(from, to) {
			time += to - from
		}
	}
	return time
}

// hasKid tells that it is known of one that it has started which was there between two points.
func (g *goLane) hasKid(from, to uint64) bool {
	return slices.ContainsFunc(g.kids, func(kid *lane) bool {
		return kid.of != nil && kid.born < to && (!kid.ended || kid.told() > from)
	})
}
