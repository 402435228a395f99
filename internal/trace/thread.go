package trace

import "apm-ebpf/internal/symbol"

// threadState tells what is known of a thread.
type threadState uint8

const (
	unseen threadState = iota // nothing since the first of the open requests was read
	running
	waiting
)

// thread turns what happens to a thread into slices of the lanes that run on it. A stretch on a CPU is
// shared by its samples, with boundaries half-way between; one without a sample goes to what the stacks at
// both its ends have in common, or to what samples showed between the same two (gaps). Leaving the CPU has no
// width: the stack there is where the wait begins.
type thread struct {
	process *process
	tid     uint32
	epoch   uint64
	home    lane // of the thread itself
	course

	tasks      bool       // it runs an event loop
	greenlets  bool       // it runs greenlets
	root       uint64     // outermost frame of its own stack, where that runs the event loop; 0: none does, or it is not known
	callsTasks *Context   // what calls tasks
	rounds     uint64     // of its event loop, at least: steps of tasks, and waits
	loop       *Context   // where it was seen in its event loop last, below a task or outside of any
	heads      []*Request // that it read and that have no answer yet
	answering  []*Request // that it has begun to answer and others read, and that go on
	serves     bool       // it has read requests' heads
	deeper     *Context   // the last stack that shows more than a return from the one before, while looksForLoop
	instrs     []uint64   // where its functions stood
	tried      uint8      // answers that were looked at for that
	loopRuns   bool       // the call that answers requests also runs their handlers
	python     bool       // it was seen to run Python
	other      bool       // and to run none
	idleAt     *Context   // pool thread: where it waits for work
	fetches    bool       // it was seen to take its work from a queue
	pooled     bool       // it was seen to wait for work that others give it
	roused     bool       // it was given some before anything was seen of it
	end        uint64     // when it ended, 0: it goes on
}

// course is what has become of a thread since the first of the open requests was read.
type course struct {
	lane      *lane   // that runs or waits on it; nil between lanes
	under     []under // tasks on whose stacks the lane was created and runs (an eager task), outermost first
	spare     []under // for the next stack
	state     threadState
	why       Reason       // waiting: for what
	stack     *Context     // last one seen of the lane
	work      uint64       // Context in force then
	item      uint64       // job of an executor that it ran then
	since     uint64       // running: up to where slices were told; waiting: since when
	seen      uint64       // running: when the last sample of this stretch was taken, 0: none yet
	after     *Context     // running: where this stretch began, nil: not known, or it has several samples
	woken     uint64       // waiting: when it could have gone on, 0: not yet
	broken    bool         // the last sample could not be read
	step      *lane        // task whose step runs
	lastStep  *lane        // whose step ended before the event loop waited; the next step tells whether it has finished
	begins    bool         // no stack was seen since that began
	heldIn    uint64       // in which of an executor's jobs it has taken what it holds, 0: in none
	job       *symbol.Func // executor's thread: what it was seen to do last
	jobSince  uint64       // since when; 0: not known
	took      uint64       // object that it has taken from a queue last, 0: none, or it was put back …
	tookFrom  uint64       // that queue's deque, 0: it has none …
	putBackAt *Context     // … here, and nothing has been put since
	paused    uint64       // when it went to take one, or took one, amid work that it was given; 0: it did not
	object    uint64       // greenlet that runs, as the last switch told
	callback  *Request     // whose head it has read, and no other's since; nil: none, or a task has run since
	wrote     uint64       // when it last began an answer with a stack
	turn      *conn        // that it read or wrote on last
	switched  uint64       // when a greenlet left last
	leaver    uint64       // its outermost frame, until another's stack is seen
	onFutex   bool         // waiting: on a futex that is not the interpreter lock's, nor C code's
	awaited   uint64       // coroutine that it was seen to wait for last
	future    uint64       // waiting: for this concurrent.futures.Future, 0: none
	elsewhere uint64       // when it was last seen to do something else than to wait for these, 0: not yet
	foreign   uint64       // when it wrote last while it was none of Python's
	polled    uint64       // when it waited so for descriptors last
	scope     *Request     // for which the stack of …
	scoped    uint64       // … that time was called; 0: no stack ever told
	asked     *Request     // for which it is at work by that
	doubt     bool         // the stack before was called for one of several
	outside   bool         // it ran no function when it was seen last
}

// sample takes a stack seen on a CPU.
func (t *thread) sample(now uint64, s *Stack) {
	if t.state == waiting { // its return to the CPU was not seen
		t.resume(now)
	}
	if t.beginning(now, s) || t.switching(s) {
		return
	}
	t.awaited, t.elsewhere = 0, now
	stack := t.see(now, s)
	if t.state == unseen {
		t.state, t.since = running, now
	}
	if t.seen != 0 {
		t.after = nil
		t.ran(t.seen+(now-t.seen)/2, t.stack, nil)
	}
	t.seen, t.stack, t.work, t.broken = now, stack, s.Work, s.Broken
	t.runs(s.Item)
	t.jobSeen(now)
}

// ran tells the stretch up to now. before is the stack at which it ends, nil where none was taken.
func (t *thread) ran(now uint64, stack, before *Context) {
	if t.lane == nil {
		return // the next stack will tell whose it is
	}
	s := slice{from: t.since, to: now, stack: stack, work: t.work, item: t.item}
	if t.seen != 0 {
		s.stacks = 1
		if t.broken {
			s.why = Unknown
		}
	}
	if s.why == OnCPU && t.after != nil && before != nil {
		s.gap = gap{t.after, before}
	}
	t.add(s)
	t.since = max(t.since, now)
}

// runTo tells the stretch on a CPU that ends now with a stack, nil where none was taken.
func (t *thread) runTo(now uint64, stack *Context) {
	if t.seen != 0 {
		t.ran(now, t.stack, stack)
	} else {
		t.ran(now, common(t.stack, stack), stack)
	}
}

// cut ends the stretch at a point where a request may begin or end.
func (t *thread) cut(now uint64, s *Stack) {
	var stack *Context
	if t.state == waiting {
		t.resume(now)
	}
	if s != nil {
		stack = t.see(now, s)
		t.work = s.Work
	} else if t.lane == nil && !t.tasks {
		if l := t.process.objects[t.object]; t.greenlets && l != nil { // the switch has told who came
			t.take(l, max(t.since, t.switched))
		} else if !t.greenlets {
			t.lane = &t.home
		}
	}
	if t.state == unseen {
		t.since = now
	} else {
		t.runTo(now, stack)
	}
	if s != nil {
		t.runs(s.Item)
	}
	t.state, t.seen, t.after = running, 0, stack
	if stack != nil {
		t.stack = stack
		t.jobSeen(now)
	}
}

// leave takes the moment at which the thread leaves its CPU.
func (t *thread) leave(now uint64, s *Stack, why Reason) {
	if t.state == waiting {
		t.resume(now)
	}
	var stack *Context
	switch {
	case t.preempted(now, s, why):
		stack = t.lane.stack
	case t.switching(s):
		stack = t.comes()
	default:
		l, own, below := t.resolve(s)
		if why == Poll { // from there to here a loop hardly does anything
			t.stepOver(now, l)
		}
		t.shows(now, s, l, own, below)
		stack = own
	}
	if t.state == running {
		t.runTo(now, stack)
	}
	t.state, t.since, t.seen, t.woken = waiting, now, 0, 0
	t.stack, t.work, t.why, t.broken = stack, s.Work, why, false
	t.runs(s.Item)
	t.onFutex = why == Lock && !s.Mutex
	t.jobSeen(now)
}

// ends takes that the thread is no more.
func (t *thread) ends(now uint64) {
	t.cut(now, nil)
	t.lane, t.state, t.end = nil, unseen, now
}

// onlyServed tells that all the thread was there for are requests of its own, which are over.
func (t *thread) onlyServed() bool {
	if !t.serves || len(t.heads) > 0 || len(t.answering) > 0 || t.process.serves(t.tid) {
		return false
	}
	grants := t.home.grants
	return len(grants) == 0 || grants[len(grants)-1].from < t.home.answered
}

func (t *thread) wake(now uint64) {
	if t.state == waiting && t.woken == 0 {
		t.woken = now
	}
}

// resume takes the moment at which the thread has a CPU again.
func (t *thread) resume(now uint64) {
	t.after = nil
	if t.state == waiting {
		t.waited(now)
		t.after = t.stack
	}
	t.state, t.since, t.seen = running, now, 0
	if t.awaited == 0 {
		t.elsewhere = now
	}
}

// waited tells the wait up to now: for what it waited, and from its wake-up on for a CPU.
func (t *thread) waited(now uint64) {
	woken := t.endsWait(now)
	if t.lane != nil {
		t.add(slice{from: t.since, to: woken, stack: t.stack, work: t.work, item: t.item, why: t.why, stacks: 1})
		t.add(slice{from: woken, to: now, stack: t.stack, work: t.work, item: t.item, why: RunQueue})
	}
}

// endsWait is when a wait that lasts until now turned into one for a CPU.
func (t *thread) endsWait(now uint64) uint64 {
	if t.woken != 0 && t.why != RunQueue {
		return min(max(t.woken, t.since), now)
	}
	return now
}

// settle tells everything up to now, for a request that ends there.
func (t *thread) settle(now uint64) {
	switch t.state {
	case running:
		if t.lane != nil {
			t.runTo(now, nil)
		}
		t.after = nil
	case waiting:
		if now > t.since {
			t.waited(now)
			if t.woken != 0 {
				t.why = RunQueue
			}
			t.since, t.woken = now, 0
		}
	}
}
