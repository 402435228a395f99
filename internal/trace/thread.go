package trace

// threadState tells what is known of a thread.
type threadState uint8

const (
	unseen threadState = iota // nothing since the first of the open requests was read
	running
	waiting
)

// thread turns what happens to a thread into the slices of its lane. A stretch on a CPU is shared by
// its samples, with boundaries half-way between; one without a sample goes to what the stacks at both
// its ends have in common. Leaving the CPU has no width: the stack there is where the wait begins.
type thread struct {
	lane     lane
	epoch    uint64 // of the process when this was last true
	answered uint64 // end of the last request that it answered
	state    threadState
	why      Reason   // waiting: for what
	stack    *Context // last one seen
	since    uint64   // running: up to where slices were told; waiting: since when
	seen     uint64   // running: when the last sample of this stretch was taken, 0: none yet
	woken    uint64   // waiting: when it could have gone on, 0: not yet
	broken   bool     // the last sample could not be read
}

// sample takes a stack seen on a CPU.
func (t *thread) sample(now uint64, stack *Context, broken bool) {
	if t.state != running { // its return to the CPU was not seen
		t.resume(now)
	}
	if t.seen != 0 {
		t.ran(t.seen+(now-t.seen)/2, t.stack)
	}
	t.seen, t.stack, t.broken = now, stack, broken
}

// ran tells the stretch up to now.
func (t *thread) ran(now uint64, stack *Context) {
	why, stacks := OnCPU, int32(0)
	if t.seen != 0 {
		stacks = 1
		if t.broken {
			why = Unknown
		}
	}
	t.lane.add(t.since, now, stack, why, stacks)
	t.since = max(t.since, now)
}

// cut ends the stretch at a point where a request may begin or end. stack is nil where none was taken.
func (t *thread) cut(now uint64, stack *Context) {
	switch {
	case t.state == waiting:
		t.resume(now)
	case t.state == unseen:
		t.since = now
	case t.seen != 0:
		t.ran(now, t.stack)
	default:
		t.ran(now, common(t.stack, stack))
	}
	t.state, t.seen = running, 0
	if stack != nil {
		t.stack = stack
	}
}

// leave takes the moment at which the thread leaves its CPU.
func (t *thread) leave(now uint64, stack *Context, why Reason) {
	switch {
	case t.state == waiting:
		t.resume(now)
	case t.state == unseen:
	case t.seen != 0:
		t.ran(now, t.stack)
	default:
		t.ran(now, common(t.stack, stack))
	}
	t.state, t.since, t.seen, t.woken = waiting, now, 0, 0
	t.stack, t.why, t.broken = stack, why, false
}

func (t *thread) wake(now uint64) {
	if t.state == waiting && t.woken == 0 {
		t.woken = now
	}
}

// resume takes the moment at which the thread has a CPU again.
func (t *thread) resume(now uint64) {
	if t.state == waiting {
		t.waited(now)
	}
	t.state, t.since, t.seen = running, now, 0
}

// waited tells the wait up to now: for what it waited, and from its wake-up on for a CPU.
func (t *thread) waited(now uint64) {
	woken := now
	if t.woken != 0 && t.why != RunQueue {
		woken = min(max(t.woken, t.since), now)
	}
	t.lane.add(t.since, woken, t.stack, t.why, 1)
	t.lane.add(woken, now, t.stack, RunQueue, 0)
}

// settle tells everything up to now, for a request that is cut there.
func (t *thread) settle(now uint64) {
	switch t.state {
	case running:
		stack := t.stack
		if t.seen == 0 {
			stack = common(t.stack, nil)
		}
		t.ran(now, stack)
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

// told is up to when the lane tells what the thread did.
func (t *thread) told() uint64 {
	if n := len(t.lane.slices); n > 0 {
		return t.lane.slices[n-1].to
	}
	return 0
}
