package trace

import (
	"strings"

	"apm-ebpf/internal/symbol"
)

// Files of the standard library's executors, whose threads go from job to job without a wait while there is work.
const (
	executorFile = "/concurrent/futures/thread.py"
	futureFile   = "/concurrent/futures/_base.py"
)

// jobBelow tells what an executor's thread was given to do, where fn is called from a path: what _WorkItem.run calls.
// That hands out the result too, through the future's set_result or set_exception, which stand for the end of a job.
func jobBelow(parent *Context, fn *symbol.Func) *symbol.Func {
	switch {
	case parent.job != nil:
		return parent.job
	case !ofFile(parent.fn, executorFile, "run") || fn.InFile(executorFile):
		return nil
	case fn.InFile(futureFile) && !endsJob(fn):
		return nil // set_running_or_notify_cancel, before the job
	}
	return fn
}

func endsJob(fn *symbol.Func) bool {
	return ofFile(fn, futureFile, "set_result") || ofFile(fn, futureFile, "set_exception")
}

func ofFile(fn *symbol.Func, file, name string) bool {
	return fn != nil && strings.HasSuffix(fn.Name, name) && fn.InFile(file)
}

// jobOf tells the job of an executor that a path belongs to, nil for none.
func (c *Context) jobOf() *symbol.Func {
	if c == nil {
		return nil
	}
	return c.job
}

// jobSeen takes what the thread is seen to do from now on. Another job than the one before may be another lane's, given
// to the thread unseen.
func (t *thread) jobSeen(now uint64) {
	job := t.stack.jobOf()
	if job == nil || job == t.job || t.lane != &t.home {
		return
	}
	if !endsJob(job) {
		t.process.queues.does(job, t.servesItself(), now)
		if t.job != nil {
			t.returns(t.since)
		}
		t.jobSince = t.since
		if !t.serves { // else its executor is the server's own
			t.takesJob(t.since, now)
		}
	}
	t.job = job
}

// takesJob takes that a job has begun on the thread since it was seen last, at from, until now. Threads that were woken or
// started for a job and did not begin one before that may have found it taken: whose job it was is doubtful then. One
// that was started for a job begins with it, before another is started.
func (t *thread) takesJob(from, now uint64) {
	mine := t.pendingJob(now)
	for _, other := range t.process.threads {
		g := other.pendingJob(from)
		if other == t || g == nil || mine != nil && mine.started && g.started {
			continue
		}
		g.doubtful = true
		if mine != nil {
			mine.doubtful = true
		}
	}
	if mine != nil {
		mine.taken = now
	}
}

// pendingJob gives the grant of a thread that had yet to begin the executor's job for which it was woken or started.
func (t *thread) pendingJob(then uint64) *grant {
	if g := t.home.openGrant(); g != nil && !t.serves && (g.taken == 0 || g.taken > then) && g.stack.submits() {
		return g
	}
	return nil
}

// submits tells the stack of one that gives a job to an executor, or starts a thread for it.
func (c *Context) submits() bool {
	return c.within(submitDepth, executorFile, "submit")
}

// submitDepth is how many functions may lie between it and where a thread is woken or started.
const submitDepth = 4

// greenDepth is how many functions of gevent or eventlet may lie between those of the standard library and the switch.
const greenDepth = 8

// within tells whether one of the last functions of the path is that of a file.
func (c *Context) within(depth int, file, name string) bool {
	for ; c != nil && depth > 0; depth-- {
		if ofFile(c.fn, file, name) {
			return true
		}
		c = c.parent
	}
	return false
}

// startsWorker tells the stack of an executor that starts a thread, which is a greenlet where threads are patched to be
// some. Its queue is one of gevent's or eventlet's own then, which nothing tells of.
func (c *Context) startsWorker() bool {
	return c.within(greenDepth, executorFile, "_adjust_thread_count")
}

// awaitsResult tells the stack of one that waits for the results of jobs.
func (c *Context) awaitsResult() bool {
	return c.within(greenDepth, futureFile, "result") || c.within(greenDepth, futureFile, "wait") || c.within(greenDepth, futureFile, "as_completed")
}

// endsExecutor tells the stack with which an executor itself puts something into its queue: None, for its threads to end.
func (c *Context) endsExecutor() bool {
	c = c.belowQueue() // which is Python's own before 3.7
	return ofFile(c.function(), executorFile, "") && !ofFile(c.function(), executorFile, "submit")
}

// answersJob takes that the thread hands out the result of its job to one that waits for it: the work was for that
// one's lane, however it came here.
func (t *thread) answersJob(now uint64, waiting *thread) {
	from, known := t.jobSince, t.job != nil
	t.jobSince = now
	if g := t.home.openGrant(); g != nil {
		g.to = now
		if g.giver == waiting.lane {
			g.doubtful = false
			return
		}
		g.doubtful = g.doubtful || g.stack.submits()
	}
	if known && from != 0 && waiting.lane != nil {
		g := grant{from: from, to: now, giver: waiting.lane, work: waiting.work, stack: waiting.stack}
		t.gets(g)
	}
}

// returns ends the work that the thread was given, if any.
func (t *thread) returns(now uint64) {
	if g := t.home.openGrant(); g != nil {
		g.to = now
	}
}
