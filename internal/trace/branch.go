package trace

import (
	"slices"

	"apm-ebpf/internal/symbol"
)

// Frames that stand for a lane beside the one that started it.
var (
	taskBranch      = &symbol.Func{Name: "[task]"}
	threadBranch    = &symbol.Func{Name: "[thread]"}
	greenletBranch  = &symbol.Func{Name: "[greenlet]"}
	goroutineBranch = &symbol.Func{Name: "[goroutine]"}
)

func isBranch(fn *symbol.Func) bool {
	return fn == taskBranch || fn == threadBranch || fn == greenletBranch || fn == goroutineBranch
}

func (k laneKind) branch() *symbol.Func {
	switch k {
	case taskLane, callbackLane:
		return taskBranch
	case greenletLane:
		return greenletBranch
	case goroutineLane:
		return goroutineBranch
	}
	return threadBranch
}

// trunk is the lane from which all that was done for the request hangs: the task that started the lane that answered,
// where it did so since the request was read, and so on.
func (r *Request) trunk() *lane {
	l := r.lane
	for up := r.starter(l); up != nil; up = r.starter(l) {
		l = up
	}
	return l
}

// starter gives the task that has had a task made for the request, itself or by a thread that did a job for it. One that
// has answered a request is of that one: on a connection that is kept it may go on to start what serves the next. One that
// was there before a stream of HTTP/2 is the connection's, and starts what serves the others.
func (r *Request) starter(l *lane) *lane {
	if !l.kind.onLoop() || l.born < r.Start {
		return nil
	}
	up := l.parent
	if l.forJob != nil && l.forJob.from >= r.Start {
		up = l.forJob.giver
	}
	if up == nil || !up.kind.onLoop() || up.answered != 0 || r.isStream() && up.born < r.Start {
		return nil
	}
	return up
}

// branchesOf gives the lanes that a lane started or gave work to within its window, but those that are in
// the tree already: whoever wakes a lane of the request does not start it.
func (b *builder) branchesOf(p *process, br *branch, seen map[*lane]bool) []branch {
	f := branchFinder{builder: b, process: p, of: br, begun: max(br.from, br.taken), seen: seen}
	f.started()
	f.jobs()
	f.handed()
	if len(br.lane.works) == 0 { // work that is told by its Context is told exactly
		f.granted()
	}
	return f.found
}

// branchFinder looks for what hangs below a branch.
type branchFinder struct {
	builder *builder
	process *process
	of      *branch
	begun   uint64         // when it began to work for the request
	seen    map[*lane]bool // that are in the tree
	found   []branch
}

// hang puts a branch into the tree, under the stack with which it was started. What the trunk's own lane did for others is
// in the tree with all else that it did.
func (f *branchFinder) hang(stack *Context, next branch) {
	next.from, next.to, next.end, next.cut = max(next.from, f.of.from), min(next.to, f.of.end), f.of.end, f.of.cut
	if next.to > next.from && next.lane != f.builder.trunk && (next.work != 0 || next.item != 0 || !f.seen[next.lane]) {
		f.seen[next.lane] = true
		next.at = f.builder.callee(f.builder.node(f.of.at, stack), next.lane.kind.branch())
		f.found = append(f.found, next)
	}
}

// started finds the lanes that it started.
func (f *branchFinder) started() {
	br := f.of
	for _, l := range br.lane.kids {
		if l.born < f.begun || l.born > br.to || br.item != 0 && l.item != br.item || br.work != 0 && l.work != 0 && l.work != br.work {
			continue
		}
		if f.process.greenJobs && l.started.startsWorker() {
			continue // its jobs tell
		}
		if f.process.shares(l, f.builder.answers) {
			if !l.started.looksUpName() {
				br.lane.unsure = l.born
			}
			continue
		}
		f.hang(l.started, branch{lane: l, from: l.born, to: br.end})
	}
}

// jobs finds the threads that did what it put into queues.
func (f *branchFinder) jobs() {
	br := f.of
	for _, j := range br.lane.jobs {
		if j.from < f.begun || j.from > br.to || !br.has(j.work, j.outer) {
			continue
		}
		if j.alike != nil && j.alike.worked {
			br.lane.unsure = j.from
		}
		if j.by != nil {
			to := br.end
			if j.to != 0 {
				to = j.to
			}
			f.hang(j.stack, branch{lane: j.by, from: j.from, to: to, item: j.item, taken: j.taken})
		}
	}
}

// handed finds the threads that ran in a Context which it made for them.
func (f *branchFinder) handed() {
	br := f.of
	for _, w := range br.lane.works {
		for _, t := range f.process.threads {
			if t != br.lane.on && t.home.worked(w.context, max(w.from, br.from), min(w.to, br.to)) {
				f.hang(w.stack, branch{lane: &t.home, from: w.from, to: min(w.to, br.to), work: w.context})
			}
		}
	}
}

// granted finds the threads that it started or woke for work.
func (f *branchFinder) granted() {
	p, br := f.process, f.of
	for _, t := range p.threads {
		for _, g := range t.home.grants {
			if g.giver != br.lane || g.from < f.begun || g.from > br.to || g.doubtful || !br.has(g.work, g.item) {
				continue
			}
			if g.started && g.stack == nil && t.home.ranThread(g.from) { // whose starter runs Python: its state was not found
				br.lane.unsure = g.from
			}
			own := t.home.answered > g.from // it worked for a request of its own
			told := p.seesJobs && g.stack.submits()
			if own || told {
				continue
			}
			if g.to != 0 && g.to == t.paused && t.took != 0 && t.home.held == nil { // it may do another's work since
				br.lane.unsure = g.from
			}
			if t.mayServe(g.from) || g.stack.ofPool() && p.wasCrowded(g.from) {
				if !g.stack.looksUpName() {
					br.lane.unsure = g.from
				}
				continue
			}
			to := g.to
			if to == 0 {
				to = br.end
			}
			f.hang(g.stack, branch{lane: &t.home, from: g.from, to: to})
		}
	}
}

// ranThread tells whether the thread ran, since then, what threading starts one for.
func (l *lane) ranThread(since uint64) bool {
	return slices.ContainsFunc(l.slices, func(s slice) bool {
		return s.from >= since && ofFile(s.stack.outermost().function(), threadFile, "_bootstrap")
	})
}

// worked tells whether the thread began to run in a Context, for no executor. What it was doing before ran in one that
// had the address before.
func (l *lane) worked(context, from, to uint64) bool {
	for i := range l.slices {
		if s := &l.slices[i]; s.work == context && s.item == 0 && s.from >= from && s.within(from, to) > 0 {
			return true
		}
	}
	return false
}
