package trace

import (
	"maps"
	"math"
	"slices"

	"apm-ebpf/internal/symbol"
)

// process is a target with its threads and the connections on which a sampled request may be open.
type process struct {
	contexts   Contexts
	threads    map[uint32]*thread
	recent     *thread                   // the last of them that was asked for
	tasks      map[uint64]*lane          // by coroutine; the newest where an address was reused
	greenlets  map[uint64]*lane          // by outermost frame; the newest where an address was reused
	objects    map[uint64]*lane          // greenlets by object, where that was told
	jobs       map[uint64]*job           // of executors, by address; the newest where one was reused
	emptied    map[*symbol.Func]struct{} // functions that put objects into queues from which threads were seen to take them
	bridges    map[uint64]*bridge        // by coroutine
	copies     map[uint64]copied         // Contexts, by address; the newest where one was reused
	handed     map[uint64]*lane          // tasks that copied a Context for a thread of trio's, by its address; likewise
	promises   map[uint64]*lane          // tasks by the Future that gets their result; the newest where an address was reused
	fetchers   map[symbol.Func]struct{}  // outermost functions of tasks that take their work from an asyncio.Queue
	greenPools bool                      // its executors' threads are greenlets …
	greenJobs  bool                      // … and what is put into their queues is told
	seesJobs   bool                      // threads' stacks tell which they run
	granted    uint64                    // when a thread was given work last
	scoped     bool                      // what its application is called with was seen to tell for which request
	gone       []*thread                 // that have ended, the first of them first
	open       []*conn                   // in no order
	goroutines
	unsampled   uint32 // streams of HTTP/2 to come that get no tree, since the last one that did
	queues      queues
	copiesSince uint64 // from when on copies of Contexts are told, 0: they are not
	stepsSince  uint64 // from when on steps of trio's tasks are, 0: they are not
	trio        bool   // it was seen to run such tasks
	callsUntold bool   // event loops were seen to call what may be a request's before

	goneLimit, threadsLimit, lanesLimit int // at which it is worth looking for what can be forgotten

	epoch   uint64 // raised when the first of the open connections opens: what was known of lanes is old
	since   uint64 // when that was
	crowded uint64 // when several connections had open requests last
}

func newProcess() *process {
	return &process{
		threads:    map[uint32]*thread{},
		tasks:      map[uint64]*lane{},
		greenlets:  map[uint64]*lane{},
		objects:    map[uint64]*lane{},
		jobs:       map[uint64]*job{},
		emptied:    map[*symbol.Func]struct{}{},
		bridges:    map[uint64]*bridge{},
		copies:     map[uint64]copied{},
		handed:     map[uint64]*lane{},
		promises:   map[uint64]*lane{},
		fetchers:   map[symbol.Func]struct{}{},
		goroutines: newGoroutines(),
		queues:     queues{patience: idleMin},
	}
}

// thread gives the thread's state, fresh if nothing was seen of it since the first request was read.
func (p *process) thread(tid uint32) *thread {
	t := p.recent
	if t == nil || t.tid != tid {
		t = p.threads[tid]
		if t == nil || t.end != 0 {
			t = &thread{process: p, tid: tid}
			p.threads[tid] = t
		}
		p.recent = t
	}
	if t.epoch != p.epoch {
		clear(t.heads)
		t.heads = t.heads[:0]
		clear(t.answering)
		t.answering = t.answering[:0]
		slices, answered := t.home.slices[:0], t.home.answered
		t.home = lane{slices: slices, answered: answered}
		t.course = course{}
		t.epoch, t.instrs, t.deeper = p.epoch, t.instrs[:0], nil
	}
	return t
}

// latest gives the thread's state, be it one that has ended.
func (p *process) latest(tid uint32) *thread {
	if t := p.threads[tid]; t != nil && t.end != 0 && t.epoch == p.epoch {
		return t
	}
	return p.thread(tid)
}

// forget takes that a number is no thread's any more.
func (p *process) forget(tid uint32) {
	delete(p.threads, tid)
	p.recent = nil
}

// threadsMin is how many threads a process may have, or have had, before it is worth forgetting some.
const threadsMin = 256

// goneMax is how many threads that have ended are kept for the requests that are open.
const goneMax = 8192

// buries takes that a thread has ended. What it did is kept for the requests that were open then.
func (p *process) buries(t *thread) {
	if t.onlyServed() {
		p.forget(t.tid)
		return
	}
	p.gone, p.recent = append(p.gone, t), nil
	if len(p.gone) < p.goneLimit {
		return
	}
	oldest := p.oldest()
	n := ended(p.gone, func(t *thread) bool { return t.end <= oldest })
	p.forgetGone(max(n, len(p.gone)-goneMax))
	p.goneLimit = max(threadsMin, 2*len(p.gone))
}

// forgetGone forgets the first threads of those that have ended.
func (p *process) forgetGone(n int) {
	for _, t := range p.gone[:n] {
		if p.threads[t.tid] == t {
			p.forget(t.tid)
		}
	}
	p.gone = slices.Delete(p.gone, 0, n)
}

// sweepThreads forgets the threads that have ended and, of many, those of which nothing was seen lately: where they ended
// while no request was open, nobody told.
func (p *process) sweepThreads() {
	p.forgetGone(len(p.gone))
	if len(p.threads) < p.threadsLimit {
		return
	}
	maps.DeleteFunc(p.threads, func(_ uint32, t *thread) bool { return t.epoch != p.epoch })
	p.recent = nil
	p.threadsLimit = max(threadsMin, 2*len(p.threads))
}

// oldest is when the oldest open request began.
func (p *process) oldest() uint64 {
	oldest := uint64(math.MaxUint64)
	for _, c := range p.open {
		if c.begun != 0 {
			oldest = min(oldest, c.begun)
		}
		for _, r := range c.requests {
			oldest = min(oldest, r.Start)
		}
	}
	return oldest
}

func (p *process) task(key uint64) *lane {
	l := p.tasks[key]
	if l == nil {
		l = &lane{kind: taskLane}
		p.tasks[key] = l
	}
	return l
}

// startsTask takes that a task was started around a coroutine.
func (p *process) startsTask(coroutine uint64, l *lane) *lane {
	if before := p.tasks[coroutine]; before != nil && before.suspended != 0 {
		before.finish() // unseen: its coroutine's address is another's now
	}
	p.tasks[coroutine] = l
	if l.parent != nil {
		l.parent.starts(l)
	}
	return l
}

// watched tells whether anything of the process is worth keeping.
func (p *process) watched() bool { return p != nil && len(p.open) > 0 }

func (p *process) opened(c *conn) {
	if len(p.open) == 0 {
		p.sweepThreads()
		if p.contexts.tooMany(contextLimit) {
			p.contexts.forget()
		}
		p.epoch++
		p.since = c.begun
		clear(p.tasks)
		clear(p.greenlets)
		clear(p.objects)
		clear(p.jobs)
		clear(p.bridges)
		clear(p.copies)
		clear(p.handed)
		clear(p.promises)
		clear(p.offCPU)
		p.lanesLimit = 0
	}
	if c.openAt == 0 {
		p.open = append(p.open, c)
		c.openAt = len(p.open)
	}
	if len(p.open) > 1 {
		p.crowded = c.begun
	}
}

// wasCrowded tells whether several connections had open requests at some time since then.
func (p *process) wasCrowded(since uint64) bool { return len(p.open) > 1 || p.crowded >= since }

func (p *process) closed(c *conn, now uint64) {
	if len(p.open) > 1 {
		p.crowded = now
	}
	if c.openAt == 0 {
		return
	}
	last := len(p.open) - 1
	moved := p.open[last]
	p.open[c.openAt-1], p.open[last] = moved, nil
	p.open = p.open[:last]
	moved.openAt, c.openAt = c.openAt, 0
}

// serves tells whether a thread has read or answers a request that is open: it works for that one.
func (p *process) serves(tid uint32) bool {
	for _, c := range p.open {
		for _, r := range c.requests {
			if r.TID == tid {
				return true
			}
		}
	}
	return false
}

// points are where requests that are open now begin or may end, in no order.
func (p *process) points(yield func(uint64) bool) {
	for _, c := range p.open {
		if !yield(c.begun) || !yield(c.wrote) {
			return
		}
		for _, r := range c.requests {
			for _, point := range [...]uint64{r.Start, r.PrevEnd, r.begun, r.free, r.left} {
				if !yield(point) {
					return
				}
			}
		}
		for _, turn := range c.turns {
			if !yield(turn.from) || !yield(turn.to) {
				return
			}
		}
	}
}

// slicesMax is how many slices, some 72 bytes each, the lanes of a process may have together before one that has more than
// its share is trimmed. A share is bounded: trimming costs the more the smaller it is, and what is folded is told less
// exactly of work that began amid it.
const (
	slicesMax = 128 << 10
	shareMin  = 256
	shareMax  = 4096
)

// trim keeps a lane small: it forgets what ended before the oldest open request, and folds what lies between two points at
// which a request can begin or end. One that waits for the lane begins there where that was free.
func (p *process) trim(l *lane) {
	if l == nil || len(l.slices) < max(l.limit, shareMin) {
		return
	}
	lanes := len(p.threads) + len(p.tasks) + len(p.greenlets) + len(p.objects) + len(p.byID)
	share := min(max(slicesMax/max(lanes, 1), shareMin), shareMax)
	if len(l.slices) < share {
		return
	}
	if l.forget(p.oldest()); len(l.slices) >= share/2 {
		l.fold(func(yield func(uint64) bool) {
			if yield(l.answered) && yield(l.left) {
				p.points(yield)
			}
		})
	}
	l.limit = 2 * len(l.slices)
}

// trim does so with the lane on the thread and with the thread's own, which has what lies below tasks.
func (t *thread) trim() {
	t.process.trim(t.lane)
	t.process.trim(&t.home)
}

// lanesMax is how many tasks and greenlets a process may have before those that are over are dropped.
const lanesMax = 8192

// sweep drops the tasks and greenlets that ended before the oldest open request, and where that does not help, all that
// ended: whoever started them still knows them.
func (p *process) sweep() {
	if len(p.tasks)+len(p.greenlets) < max(p.lanesLimit, lanesMax) {
		return
	}
	oldest := p.oldest()
	for _, lanes := range []map[uint64]*lane{p.tasks, p.greenlets} {
		for key, l := range lanes {
			if l.forget(oldest); len(l.slices) == 0 && l.suspended == 0 && (l.ended || l.kind == greenletLane) {
				delete(lanes, key)
			}
			if l.born < oldest {
				l.parent = nil
			}
		}
		if len(lanes) > lanesMax/2 {
			maps.DeleteFunc(lanes, func(_ uint64, l *lane) bool { return l.ended })
		}
	}
	p.lanesLimit = 2 * (len(p.tasks) + len(p.greenlets))
}
