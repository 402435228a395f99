package trace

import (
	"slices"

	"apm-ebpf/internal/symbol"
)

// job is what a lane handed to another by a queue: for one, the _WorkItem that ThreadPoolExecutor.submit puts into its
// queue and that the thread which takes it runs.
type job struct {
	item  uint64 // its address
	from  uint64 // when it was put
	to    uint64 // when it was done, or another was put that has the address; 0: not yet
	taken uint64 // when a thread was seen to take or run it, 0: not yet
	by    *lane  // that thread's
	giver *lane  // that put it
	stack *Context
	work  uint64 // Context and job of the giver
	outer uint64
	alike *alike // others with that object that may lie in queues too, nil: none
	idle  bool   // it is of no request
	past  bool   // its giver has forgotten it: no request will ask for what was done for it
}

// alike are jobs with one object that lay in queues at once, as where None or a number is put into several.
type alike struct {
	left    int  // that were not taken yet
	several bool // not all were put by one lane, at one place
	worked  bool // one of several was taken by a thread that works for who put it there: who that is cannot be told
}

// puts takes that a lane puts an object into a queue.
func (p *process) puts(j *job) {
	before := p.jobs[j.item]
	switch {
	case before == nil, before.heldOn() && !before.stack.submits(): // who has it may have freed it
	case p.mayLie(before, j) && !j.stack.submits() && !before.stack.submits(): // executors make a new one each time
		if before.alike == nil {
			before.alike = &alike{left: 1}
		}
		j.alike = before.alike
		j.alike.left++
		j.alike.several = j.alike.several || !j.isAs(before)
	default:
		before.end(j.from)
	}
	if len(p.jobs) >= lanesMax {
		clear(p.jobs)
	}
	p.jobs[j.item] = j
	j.giver.gives(j)
}

// gives takes that the lane hands out a job.
func (l *lane) gives(j *job) {
	l.jobs = append(l.jobs, j)
	if n := len(l.jobs); n > listMax {
		l.forgetJobs(n / 2)
	}
}

// forgetJobs drops the oldest of the jobs that a lane has handed out.
func (l *lane) forgetJobs(n int) {
	for _, j := range l.jobs[:n] {
		j.past = true
	}
	l.jobs = slices.Delete(l.jobs, 0, n)
}

// submitted tells that the last job which the lane has handed out was for an executor.
func (l *lane) submitted() bool {
	n := len(l.jobs)
	return n > 0 && l.jobs[n-1].stack.submits()
}

// does takes that the thread's lane does a job.
func (l *lane) does(j *job) {
	j.by = l
	const few = 32
	if n := len(l.did); n >= few && n&(n-1) == 0 { // seldom, where that does not help
		l.did = slices.DeleteFunc(l.did, func(j *job) bool { return j.past })
	}
	l.did = append(l.did, j)
}

// isAs tells that a lane has put both at the same place, for the same work.
func (j *job) isAs(other *job) bool {
	return j.giver == other.giver && j.stack == other.stack && j.work == other.work && j.outer == other.outer
}

// mayLie tells that the object may still lie in a queue while it is put into another. Where none of those that a function put
// was ever seen to be taken, a thread takes them unseen, and what has the address of one is another.
func (p *process) mayLie(before, j *job) bool {
	if !before.lies() {
		return false
	}
	_, seen := p.emptied[before.putBy()]
	return seen || before.putBy() == j.putBy()
}

// putBy is the function that put the object into a queue.
func (j *job) putBy() *symbol.Func { return j.stack.belowQueue().function() }

// lies tells that the object, or another like it, may still lie in a queue.
func (j *job) lies() bool { return j.taken == 0 || j.alike != nil && j.alike.left > 0 }

// heldOn tells that the thread which took the object works for it.
func (j *job) heldOn() bool { return j.by != nil && j.by.held == j }

func (j *job) end(now uint64) {
	if j != nil && j.to == 0 {
		j.to = now
	}
}

// takes gives the job with an object that is taken from a queue; nil for none, or where it cannot be told whose it is.
// works: by a thread that works for who put it there.
func (p *process) takes(now uint64, item uint64, works bool) *job {
	j := p.jobs[item]
	switch {
	case j == nil:
		return nil
	case j.alike != nil && j.alike.several:
		j.taken = now
		j.alike.left--
		j.alike.worked = j.alike.worked || works
		return nil
	case j.alike != nil && j.alike.left > 0:
		j.alike.left--
		if j.taken != 0 {
			j = j.again()
		}
	case j.taken != 0:
		return nil
	}
	j.taken = now
	p.emptied[j.putBy()] = struct{}{}
	return j
}

// again gives another job that is as this one.
func (j *job) again() *job {
	next := *j
	next.to, next.by, next.past = 0, nil, false
	next.giver.gives(&next)
	return &next
}

// runs takes which of an executor's jobs the thread is seen to run, 0 for none that a stack tells. What it has taken from a queue
// within that counts more.
func (t *thread) runs(item uint64) {
	before, held := t.item, t.home.held
	if held != nil && item != t.heldIn && (item != 0 || ofFile(t.stack.function(), executorFile, "_worker")) { // that is over
		t.home.held, t.home.heldAt, held = nil, nil, nil
	}
	t.item = item
	if item != 0 {
		t.process.seesJobs = true
		switch j := t.process.jobs[item]; {
		case j == nil && item != before: // it was put unseen; its Context may tell whose it is
			t.item = 0
		case j != nil && j.taken == 0:
			j.taken = max(t.since, j.from)
			if t.lane != nil && t.lane.kind == greenletLane {
				t.lane.does(j)
			} else {
				t.home.does(j)
			}
		}
	}
	if held != nil {
		t.item = held.item
	}
}

// doing gives the job that the thread is seen to do, nil for none.
func (t *thread) doing() *job {
	if j := t.process.jobs[t.item]; t.item != 0 && j != nil && j.by == t.lane {
		return j
	}
	return nil
}

// takes takes that the thread has taken an object from a queue. It works for who put it there until it comes back to the
// same place. What it takes in the midst of that, or as the answer of one whom it gave work, is none.
func (t *thread) takes(now uint64, s *Stack, item, deque uint64) {
	t.cut(now, s)
	t.runs(s.Item)
	at := t.stack.belowQueue()
	works := !t.servesItself() && !t.process.isAsked(s.Item) && !t.tasks && !t.greenlets && t.lane == &t.home && at != nil && !at.calledByThread() &&
		(t.home.held == nil || at.depth <= t.home.heldAt.depth)
	t.took, t.tookFrom = item, deque
	j := t.process.takes(now, item, works)
	if !works || j != nil && j.giver.worksFor(&t.home) {
		return
	}
	t.drops(now)
	if j != nil {
		t.wasWokenAt(at)
		t.paused = 0
	}
	t.pauses(now)
	t.fetches = true
	if j != nil {
		t.home.does(j)
		t.home.held, t.home.heldAt, t.heldIn, t.item = j, at, s.Item, item
	}
}

// isAsked tells an executor's job that a request which may still be open has given. Another may be a loop that does what a
// queue gives it.
func (p *process) isAsked(item uint64) bool {
	j := p.jobs[item]
	return j != nil && !j.idle && j.from >= p.oldest()
}

// putsBack takes that the thread puts an object into a queue, and tells whether it gives nobody work by that: it has taken it
// from there amid its work, as from a pool of connections, so neither was the wait for it the end of that.
func (t *thread) putsBack(item, deque uint64, s *Stack) bool {
	t.putBackAt = nil
	if t.lane != &t.home || item != t.took || deque == 0 || deque != t.tookFrom {
		return false
	}
	t.took = 0
	n := len(t.home.grants)
	amid := n > 0 && t.paused != 0 && t.home.grants[n-1].to == t.paused
	if !amid && s.Item == 0 && !t.servesItself() {
		return false
	}
	if amid {
		t.home.grants[n-1].to, t.pooled = 0, false
	}
	if j := t.home.held; j != nil && j.item == item {
		j.by = nil
		t.home.did = slices.DeleteFunc(t.home.did, func(other *job) bool { return other == j })
		t.home.held, t.home.heldAt = nil, nil
		t.runs(s.Item)
		for i := len(t.home.slices) - 1; i >= 0 && t.home.slices[i].from >= j.taken; i-- {
			t.home.slices[i].item = t.item
		}
	}
	t.putBackAt = t.stack.belowQueue()
	return true
}

// wasWokenAt takes that what the thread was woken for is known by its queue, if it was nowhere else since.
func (t *thread) wasWokenAt(queue *Context) {
	g := t.home.openGrant()
	if t.fetches || g == nil {
		return
	}
	for i := len(t.home.slices) - 1; i >= 0 && t.home.slices[i].to > g.from; i-- {
		if at := t.home.slices[i].stack; at != nil && at.belowQueue() != queue && at != queue.upTo(at.depth) {
			return
		}
	}
	if !g.started {
		t.home.grants, t.roused = t.home.grants[:len(t.home.grants)-1], false
	}
}

// drops ends the job that the thread has taken, if any.
func (t *thread) drops(now uint64) {
	t.home.held.end(now)
	t.home.held, t.home.heldAt = nil, nil
}

// belowQueue is the function that uses a queue.
func (c *Context) belowQueue() *Context {
	for c != nil && (c.fn.InFile(queueFile) || c.fn.InFile(threadFile)) {
		c = c.parent
	}
	return c
}
