package trace

// Files of the standard library in which threads start and wait, and that of import.
const (
	threadFile = "/threading.py"
	queueFile  = "/queue.py"
	importFile = "<frozen importlib._bootstrap>"
)

// given takes work for a thread that waits for some.
func (t *thread) given(g grant) {
	if t.fetches || t.busy() || !t.givenBy(g.stack) || g.giver.worksFor(&t.home) {
		return
	}
	t.returns(g.from)
	if t.state == waiting {
		t.idleAt = t.stack
		t.pooled = t.pooled || !t.stack.tellsWork()
	}
	t.roused = t.roused || t.state == unseen
	t.job, t.jobSince = nil, 0
	t.gets(g)
}

// gets takes that the thread works for another lane from now on.
func (t *thread) gets(g grant) {
	t.home.grants = bounded(append(t.home.grants, g))
	t.process.granted = max(t.process.granted, g.from)
}

// givenBy tells whether what a thread waits for may come from a stack that wakes it. From elsewhere it was only let go on:
// interpreters without a lock stop all threads now and then, those too that have got their work already.
func (t *thread) givenBy(by *Context) bool {
	switch {
	case by.function() != nil && by.fn.File == importFile: // modules' locks
		return false
	case t.state != waiting:
		return true
	case ofFile(t.stack.function(), executorFile, "_worker"):
		return by.submits()
	case ofFile(t.stack.function(), threadFile, "wait"):
		return ofFile(by.function(), threadFile, "notify")
	}
	return true
}

// busy tells a thread that does not wait for work: what wakes one in the midst of an executor's job, while it answers
// a request whose head it read, or elsewhere than where it got its last work is a lock. One that waits since before
// anything was asked of the process waits for work.
func (t *thread) busy() bool {
	switch {
	case t.tasks || len(t.heads) > 0:
		return true
	case t.state == unseen:
		return false
	case t.state != waiting || !t.onFutex || t.stack.jobOf() != nil || !t.started():
		return true
	case t.idle():
		return false
	case !t.stack.waitsForWork():
		return true
	case t.idleAt != nil:
		return t.stack.depth >= t.idleAt.depth // threads wait for work where nothing is on their stacks
	}
	return t.home.openGrant() != nil
}

// started tells a thread that threading started, as those that are given work are.
func (t *thread) started() bool {
	return ofFile(t.stack.outermost().function(), threadFile, "_bootstrap")
}

// waitsForWork tells a stack that may be where a thread waits for work; it may be in the midst of some too.
func (c *Context) waitsForWork() bool {
	return ofFile(c.function(), threadFile, "wait") && !ofFile(c.parent.function(), futureFile, "")
}

// rests ends the work of a thread that is back where it waited for it.
func (t *thread) rests(now uint64) {
	if held := t.home.heldAt; held != nil && t.onFutex && t.stack.belowQueue() == held {
		t.drops(now)
	}
	if t.onFutex && t.idle() {
		t.leaves(now)
	}
	if t.home.held == nil && t.onFutex && t.idle() {
		t.pooled = t.pooled || !t.stack.tellsWork()
		t.pauses(now)
		t.job, t.jobSince = nil, 0
	}
}

// pauses ends the work that the thread was given, if any, until it turns out to go on.
func (t *thread) pauses(now uint64) {
	if t.home.openGrant() != nil {
		t.paused = now
	}
	t.returns(now)
}

// idle tells a thread that waits where it got its last work, or for an executor's or a queue's next item. Within an executor's
// job it waits for what that needs.
func (t *thread) idle() bool {
	if t.stack == nil || t.stack.jobOf() != nil {
		return false
	}
	return t.stack == t.idleAt || ofFile(t.stack.fn, executorFile, "_worker") ||
		ofFile(t.stack.fn, threadFile, "wait") && ofFile(t.stack.parent.function(), queueFile, "get")
}

// worksFor tells that a lane does what another gave it, or one that works for that: whoever it wakes there has waited
// for its answer.
func (l *lane) worksFor(other *lane) bool {
	for range giversMax {
		if l == nil || l == other {
			return l == other
		}
		if l.held != nil {
			l = l.held.giver
		} else if g := l.openGrant(); g != nil {
			l = g.giver
		} else {
			l = l.parent
		}
	}
	return false
}

// giversMax is how many lanes in a row may have given work to each other.
const giversMax = 16

// tellsWork tells where a thread of an executor or of AnyIO waits, whose jobs are told by other means.
func (c *Context) tellsWork() bool {
	return ofFile(c.function(), executorFile, "_worker") || c.belowQueue().isAnyIO()
}

func (c *Context) isAnyIO() bool { return c != nil && c.fn.InPackage("anyio") }

// mayServe tells that whose work a thread of a pool does cannot be told, since several requests were open after a time: it
// may have gone on to the next without a wait.
func (t *thread) mayServe(since uint64) bool {
	return (t.pooled || t.roused && t.stack != nil && !t.stack.ofToldWork()) && t.process.wasCrowded(since)
}

// mayHaveServed tells that a thread which notifies another may have worked for that one: nothing tells for whom it does.
func (t *thread) mayHaveServed(by *Context) bool {
	p := t.process
	if t.servesItself() || len(t.heads) > 0 || t.home.held != nil || !ofFile(by.function(), threadFile, "notify") || by.handsBack() {
		return false
	}
	if t.mayServe(p.since) {
		return true
	}
	return !t.tasks && !t.greenlets && t.home.openGrant() == nil && t.started() && !t.stack.ofToldWork() && p.wasCrowded(p.since)
}

// servesItself tells a thread that has answered requests, or reads them.
func (t *thread) servesItself() bool { return t.serves || t.asked != nil || t.home.answered != 0 }

// openGrant gives the work that the lane was given and is at; nil: none.
func (l *lane) openGrant() *grant {
	if n := len(l.grants); n > 0 && l.grants[n-1].to == 0 {
		return &l.grants[n-1]
	}
	return nil
}

// ofToldWork tells the stack of a thread whose jobs are told by other means, wherever it is in one.
func (c *Context) ofToldWork() bool { return c.ofThread().tellsWork() }

// handsBack tells the stack of a thread that hands out what a pool of processes has done.
func (c *Context) handsBack() bool {
	fn := c.ofThread().function()
	return ofFile(fn, "/concurrent/futures/process.py", "") || ofFile(fn, "/multiprocessing/pool.py", "_handle_results")
}

// ofThread is the function that a thread was started for.
func (c *Context) ofThread() (first *Context) {
	for ; c != nil; c = c.parent {
		if !c.fn.InFile(threadFile) {
			first = c
		}
	}
	return first
}
