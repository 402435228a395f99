package trace

import "apm-ebpf/internal/symbol"

// Frames that stand for a lane beside the one that started it.
var (
	taskBranch     = &symbol.Func{Name: "[task]"}
	threadBranch   = &symbol.Func{Name: "[thread]"}
	greenletBranch = &symbol.Func{Name: "[greenlet]"}
)

func isBranch(fn *symbol.Func) bool {
	return fn == taskBranch || fn == threadBranch || fn == greenletBranch
}

func (k laneKind) branch() *symbol.Func {
	switch k {
	case taskLane:
		return taskBranch
	case greenletLane:
		return greenletBranch
	}
	return threadBranch
}

// trunk is the lane from which all that was done for a request hangs: the task that started the lane that
// answered, where it did so since the request was read, and so on. One that has answered a request is of that one: on
// a connection that is kept it may go on to start what serves the next.
func (l *lane) trunk(start uint64) *lane {
	for l.kind == taskLane && l.parent != nil && l.parent.kind == taskLane && l.parent.answered == 0 && l.born >= start {
		l = l.parent
	}
	return l
}

// branchesOf gives the lanes that a lane started or gave work to within its window, but those that are in
// the tree already: whoever wakes a lane of the request does not start it.
func (b *builder) branchesOf(p *process, br *branch, seen map[*lane]bool) (found []branch) {
	hang := func(l *lane, stack *Context, from, to, work uint64) {
		from, to = max(from, br.from), min(to, br.to)
		if to > from && (work != 0 || !seen[l]) {
			seen[l] = true
			at := b.callee(b.node(br.at, stack), l.kind.branch())
			found = append(found, branch{lane: l, at: at, from: from, to: to, work: work})
		}
	}
	for _, l := range br.lane.kids {
		if l.born >= br.from && l.born <= br.to {
			hang(l, l.started, l.born, br.to, 0)
		}
	}
	for _, w := range br.lane.works {
		for _, t := range p.threads {
			if t != br.lane.on && t.home.worked(w.context, max(w.from, br.from), min(w.to, br.to)) {
				hang(&t.home, w.stack, w.from, w.to, w.context)
			}
		}
	}
	if len(br.lane.works) > 0 {
		return found // work that is told by its Context is told exactly
	}
	for _, t := range p.threads {
		for _, g := range t.home.grants {
			own := t.home.answered > g.from // it worked for a request of its own
			if g.giver == br.lane && !g.doubtful && !own && (br.work == 0 || g.work == br.work) && g.from >= br.from && g.from <= br.to {
				to := g.to
				if to == 0 {
					to = br.to
				}
				hang(&t.home, g.stack, g.from, to, 0)
			}
		}
	}
	return found
}

// worked tells whether the thread began to run in a Context. What it was doing before ran in one that had the address
// before.
func (l *lane) worked(context, from, to uint64) bool {
	for i := range l.slices {
		if s := &l.slices[i]; s.work == context && s.from >= from && s.within(from, to) > 0 {
			return true
		}
	}
	return false
}
