package trace

import (
	"iter"
	"slices"
	"sort"
)

// slice is a part of a lane's time with one stack.
type slice struct {
	from, to uint64 // CLOCK_MONOTONIC, ns
	time     uint64 // to - from; less where several slices were folded into one
	stack    *Context
	work     uint64 // contextvars.Context in force
	item     uint64 // job of an executor that ran, pastJobs: that did
	gap      gap    // on a CPU: between which stacks
	stacks   int32  // that were taken in it
	why      Reason
}

// pastJobs stands for the jobs in folded slices for which no request will ask.
const pastJobs = 1

type laneKind uint8

const (
	threadLane laneKind = iota
	greenletLane
	taskLane
	goroutineLane
	callbackLane
)

// onLoop tells what event loops run.
func (k laneKind) onLoop() bool { return k == taskLane || k == callbackLane }

// lane is one sequence of execution, which has one stack at a time: what it did since the oldest open
// request of its process was read. A task's stacks begin with its own coroutine, those of callbacks, which are
// one lane with those that they have called, with what the event loop calls; those of the others with
// the thread's or the greenlet's outermost function.
type lane struct {
	kind   laneKind
	slices []slice
	limit  int // slices up to which it is not worth looking for what can go, as when that was last done

	on      *thread  // that it ran on last
	of      *goLane  // goroutine: its own
	object  uint64   // greenlet: that it is, 0: not told
	parent  *lane    // that started it
	started *Context // the parent's stack then
	born    uint64   // when; 0: before anything was seen of it
	item    uint64   // job that the parent ran then
	doing   uint64   // greenlet: job of an executor that it ran when it left its thread
	work    uint64   // Context in force then, where it was told who waits for the lane
	bridged bool     // it was told who waits
	forJob  *job     // that who waits does, nil: none
	future  uint64   // task: concurrent.futures.Future that gets its result, 0: none
	nobodys bool     // task: the event loop called who made it, for nobody that is known
	fetches bool     // task, greenlet: it does what a queue gives it
	begun   bool     // it has run since
	ended   bool
	claimed bool     // its request has been handed out, and no other can be its own
	below   *Context // task, callbacks: the event loop's frames under its own
	kids    []*lane  // that it started
	works   []work   // that it handed to threads
	jobs    []*job   // that it handed to executors
	grants  []grant  // thread: work that it was given
	did     []*job   // thread, greenlet: that it has done or does, for which a request may ask
	held    *job     // thread: that it has taken from a queue …
	heldAt  *Context // … where, and does now

	chain  []uint64 // task: coroutines through which it waited, when its step told …
	waited *Context // … with their functions

	stack     *Context // last one seen
	suspended uint64   // since when, 0: it isn't
	untold    uint64   // suspended: up to where its running was told before; the stack since then comes with its next step
	after     *Context // suspended: where the stretch before began, nil: not known, or it has several samples
	stepped   uint64   // when its last step began
	answered  uint64   // end of the last request that it answered
	left      uint64   // thread: when it was back where it waits for work last
	unsure    uint64   // when another lane answered that may have worked for it
}

// work is a Context that a lane made for another to run in, and when it can have been handed over.
type work struct {
	context  uint64
	from, to uint64
	stack    *Context
}

// grant is the time for which a thread works for another lane.
type grant struct {
	from, to uint64 // to is 0 while it does
	giver    *lane
	work     uint64 // Context of the giver
	item     uint64 // job that it ran
	stack    *Context
	started  bool   // the thread was started for it
	taken    uint64 // executor's: when the job was seen, 0: not yet
	doubtful bool   // executor's: another thread may have taken the job; else the thread reads requests itself
}

// listMax bounds what a lane started, gave and was given: of more, the older half is dropped.
const listMax = 1024

func bounded[T any](list []T) []T {
	if len(list) <= listMax {
		return list
	}
	return append(list[:0:0], list[len(list)/2:]...)
}

// starts takes that the lane has started another.
func (l *lane) starts(kid *lane) {
	const few = 32
	if n := len(l.kids); n >= few && n&(n-1) == 0 { // seldom, where that does not help
		l.kids = slices.DeleteFunc(l.kids, func(k *lane) bool { return k.ended && k.claimed })
	}
	l.kids = bounded(append(l.kids, kid))
}

// drop forgets all that a lane did, which no request asks for any more.
func (l *lane) drop() {
	l.forgetJobs(len(l.jobs))
	l.slices, l.kids, l.works, l.jobs, l.parent, l.forJob = nil, nil, nil, nil, nil, nil
}

// add appends a slice, joined to the last one where they are alike.
func (l *lane) add(s slice) {
	if s.to <= s.from {
		return
	}
	s.time = s.to - s.from
	if n := len(l.slices); n > 0 {
		last := &l.slices[n-1]
		if last.to == s.from && last.stack == s.stack && last.why == s.why && last.work == s.work && last.item == s.item && last.gap == s.gap {
			last.to = s.to
			last.time += s.time
			last.stacks += s.stacks
			return
		}
	}
	l.slices = append(l.slices, s)
}

// suspend takes the moment from which the lane waits while its thread goes on with others. told is up to
// where its running is told.
func (l *lane) suspend(now, told uint64) {
	l.suspended, l.untold, l.after = now, told, nil
}

// goOn tells the wait that has ended. stack is where the lane stood, nil where the last one seen must do.
func (l *lane) goOn(now uint64, stack *Context) {
	var between gap
	if stack == nil {
		stack = l.stack
	} else if l.after != nil {
		between = gap{l.after, stack}
	}
	if l.suspended != 0 {
		l.endsGap(between)
		l.add(slice{from: l.untold, to: l.suspended, stack: stack, item: l.doing, gap: between})
		l.add(slice{from: l.suspended, to: now, stack: stack, item: l.doing, why: Await, stacks: 1})
	}
	l.stack, l.suspended, l.untold = stack, 0, 0
}

// endsGap takes between which stacks the lane had the sample, if any, up to which its running is told.
func (l *lane) endsGap(between gap) {
	if n := len(l.slices); n > 0 && between.known() {
		if s := &l.slices[n-1]; s.to == l.untold && s.stacks == 1 && s.why == OnCPU {
			s.gap = between
		}
	}
}

// goesOn takes through which coroutines the task waited that goes on.
func (l *lane) goesOn(chain []Frame, path *Context) {
	l.chain, l.waited = l.chain[:0], path
	if len(chain) > 1 {
		for i := range chain {
			l.chain = append(l.chain, chain[i].Task)
		}
	}
}

// mayWaitAt is where a suspended lane is told to wait when a request ends. A task's next step will tell; until then only
// its outermost function is certain, which is all to be told of a request that is answered. Of one that was cut short,
// whoever reads it wants to know where: it is told as it was seen last.
func (l *lane) mayWaitAt(cut bool) *Context {
	switch {
	case l.kind != taskLane:
		return l.stack
	case cut:
		return l.stack.coroutines()
	}
	return l.stack.outermost()
}

// blocked gives the wait of the lane's thread that goes on now.
func (l *lane) blocked(now uint64) []slice {
	t := l.on
	if t == nil || t.lane != l || t.state != waiting || t.since >= now {
		return nil
	}
	woken := t.endsWait(now)
	return []slice{
		{from: t.since, to: woken, stack: t.stack, work: t.work, item: t.item, why: t.why, stacks: 1},
		{from: woken, to: now, stack: t.stack, work: t.work, item: t.item, why: RunQueue},
	}
}

// finish takes that the task has returned when it was taken for suspended.
func (l *lane) finish() {
	if l.suspended != 0 {
		l.add(slice{from: l.untold, to: l.suspended, stack: l.stack})
	}
	l.suspended, l.ended, l.chain, l.waited = 0, true, nil, nil
	if l.claimed {
		l.drop()
	}
}

// forget drops what ended before a point in time.
func (l *lane) forget(before uint64) {
	l.slices = slices.Delete(l.slices, 0, ended(l.slices, func(s slice) bool { return s.to <= before }))
	l.works = slices.Delete(l.works, 0, ended(l.works, func(w work) bool { return w.to <= before }))
	l.forgetJobs(ended(l.jobs, func(j *job) bool { return j.from <= before }))
	l.did = slices.DeleteFunc(l.did, func(j *job) bool { return j.past || j.from <= before })
	l.grants = slices.Delete(l.grants, 0, ended(l.grants, func(g grant) bool { return g.to != 0 && g.to <= before }))
	l.kids = slices.Delete(l.kids, 0, ended(l.kids, func(k *lane) bool { return k.born <= before }))
}

// ended counts the entries at the beginning of a list that are over.
func ended[T any](list []T, over func(T) bool) (n int) {
	for n < len(list) && over(list[n]) {
		n++
	}
	return n
}

// fold joins the slices of equal stacks between neighbouring points. What a request sees of its window is the same before
// and after, as long as its ends are among the points.
func (l *lane) fold(points iter.Seq[uint64]) {
	type key struct {
		stack *Context
		why   Reason
		work  uint64
		item  uint64
		gap   gap
	}
	n := len(l.slices)
	cut, inside := make([]bool, n), make([]bool, n) // a point lies before a slice, or in it
	for point := range points {
		i := n // most points are late ones
		if point <= l.slices[n-1].from {
			i = sort.Search(n, func(i int) bool { return l.slices[i].from >= point })
			cut[i] = true
		}
		if i > 0 && point < l.slices[i-1].to {
			inside[i-1] = true
		}
	}
	asked := map[uint64]bool{0: true}
	for _, j := range l.did { // what is past has been forgotten
		asked[j.item] = true
	}
	var folded []slice
	at := map[key]int{}
	for i, s := range l.slices {
		if !asked[s.item] {
			s.item = pastJobs
		}
		if cut[i] || inside[i] {
			clear(at)
		}
		if inside[i] { // it stays as it is
			folded = append(folded, s)
			continue
		}
		k := key{s.stack, s.why, s.work, s.item, s.gap}
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

// told is up to when the lane tells what it did.
func (l *lane) told() uint64 {
	if n := len(l.slices); n > 0 {
		return l.slices[n-1].to
	}
	return 0
}
