package trace

import "slices"

// slice is a part of a lane's time with one stack.
type slice struct {
	from, to uint64 // CLOCK_MONOTONIC, ns
	time     uint64 // to - from; less where several slices were folded into one
	stack    *Context
	why      Reason
	stacks   int32 // that were taken in it
}

// lane is one sequence of execution, which has one stack at a time: what it did since the oldest open
// request of its process was read. For a plain thread it is the thread.
type lane struct {
	slices []slice
	limit  int // slices at which it is worth folding
}

// foldAt is how many slices a lane may have before those between two points at which a request can
// begin or end are folded; a lane doubles from there, so that folding stays cheap.
const foldAt = 4096

// add appends a slice, joined to the last one where they are alike.
func (l *lane) add(from, to uint64, stack *Context, why Reason, stacks int32) {
	if to <= from {
		return
	}
	if n := len(l.slices); n > 0 {
		last := &l.slices[n-1]
		if last.to == from && last.stack == stack && last.why == why {
			last.to = to
			last.time += to - from
			last.stacks += stacks
			return
		}
	}
	l.slices = append(l.slices, slice{from, to, to - from, stack, why, stacks})
}

// forget drops what ended before a point in time.
func (l *lane) forget(before uint64) {
	n := 0
	for n < len(l.slices) && l.slices[n].to <= before {
		n++
	}
	l.slices = slices.Delete(l.slices, 0, n)
}

// trim keeps the lane small: it forgets what ended before the oldest open request and folds the rest.
func (l *lane) trim(points []uint64) {
	if len(points) > 0 {
		l.forget(points[0])
	}
	if len(l.slices) >= l.limit {
		l.fold(points)
	}
	l.limit = max(foldAt, 2*len(l.slices))
}

// fold joins the slices of equal stacks between neighbouring points, which are in order. What a
// request sees of its window is the same before and after, as long as its ends are among the points.
func (l *lane) fold(points []uint64) {
	type key struct {
		stack *Context
		why   Reason
	}
	var folded []slice
	at := map[key]int{}
	next := 0
	for _, s := range l.slices {
		for next < len(points) && points[next] <= s.from {
			next++
			clear(at)
		}
		if next < len(points) && points[next] < s.to { // a point inside: it stays as it is
			folded = append(folded, s)
			clear(at)
			continue
		}
		k := key{s.stack, s.why}
		if i, ok := at[k]; ok {
			folded[i].time += s.time
			folded[i].stacks += s.stacks
			folded[i].to = s.to
			continue
		}
		at[k] = len(folded)
		folded = append(folded, s)
	}
	l.slices = folded
}

// within is how much of the slice lies in a window.
func (s *slice) within(from, to uint64) uint64 {
	if s.from >= from && s.to <= to {
		return s.time
	}
	from, to = max(from, s.from), min(to, s.to)
	if to <= from {
		return 0
	}
	return min(to-from, s.time)
}
