package trace

import (
	"math"
	"strings"
)

// Files of trio that start tasks and threads, and that of its pool of threads.
const (
	trioRunFile     = "/trio/_core/_run.py"
	trioThreadsFile = "/trio/_threads.py"
	trioPoolFile    = "/trio/_core/_thread_cache.py"
	trioChannelFile = "/trio/_channel.py"
)

// SeesSteps takes that the steps of a process's trio tasks are told from now on, and the copies of its Contexts.
func (t *Tracer) SeesSteps(pid uint32, now uint64) {
	if p := t.processes[pid]; p != nil {
		p.stepsSince = now
		if p.copiesSince == 0 {
			p.copiesSince = now
		}
	}
}

// UnseenSteps gives the processes in which trio's tasks run unseen.
func (t *Tracer) UnseenSteps(yield func(pid uint32)) {
	for pid, p := range t.processes {
		if p.trio && p.stepsSince == 0 {
			yield(pid)
		}
	}
}

// ranUnseen takes a path that is in the request's tree. Of tasks of which nothing tells when they switch, nothing tells who
// started them either.
func (r *Request) ranUnseen(c *Context) {
	switch p := r.process; {
	case c == nil:
	case c.unseen, c.trio && (p.stepsSince == 0 || r.Start < p.stepsSince):
		r.Imprecise, r.Undecided = true, true
	}
}

// spawns tells the stack of trio that starts a task, for which it copies a Context.
func (c *Context) spawns() bool { return ofFile(c.function(), trioRunFile, "spawn_impl") }

// handsOn tells the stack of trio.to_thread.run_sync, which copies a Context for what the thread is to call.
func (c *Context) handsOn() bool { return ofFile(c.function(), trioThreadsFile, "to_thread_run_sync") }

// calledByThread tells the stack of a thread that has trio call something for it, for whose result it waits on a queue.
func (c *Context) calledByThread() bool { return ofFile(c.function(), trioThreadsFile, "") }

// hands takes that a task has copied a Context for a thread to run in. It waits until that is done.
func (p *process) hands(l *lane, context, now uint64, stack *Context) {
	if len(p.handed) >= lanesMax {
		clear(p.handed)
	}
	l.regains(now)
	l.works = bounded(append(l.works, work{context: context, from: now, to: math.MaxUint64, stack: stack}))
	p.handed[context] = l
}

// regains takes that the task goes on, if a thread did something for it: what runs in its Context is another's.
func (l *lane) regains(now uint64) {
	if n := len(l.works); n > 0 && l.works[n-1].to == math.MaxUint64 {
		l.works[n-1].to = now
	}
}

// copiedAgain takes that a Context was copied: who had one of that address has it no more.
func (p *process) copiedAgain(context, now uint64) {
	l := p.handed[context]
	if l == nil {
		return
	}
	delete(p.handed, context)
	if n := len(l.works); n > 0 && l.works[n-1].context == context {
		l.regains(now)
	}
}

// tellsPool tells that what the threads do is told of the pool that a stack gives work.
func (p *process) tellsPool(stack *Context) bool {
	return p.stepsSince != 0 && ofFile(stack.belowQueue().function(), trioPoolFile, "")
}

// taskIn gives the lane of a task that goes on in a Context, 0 where that is not told. In one that was copied to start a task
// it begins.
func (p *process) taskIn(coroutine, context uint64) *lane {
	c, copied := p.copies[context]
	if context == 0 || !copied || !c.stack.spawns() {
		return p.task(coroutine)
	}
	delete(p.copies, context)
	p.sweep()
	return p.startsTask(coroutine, &lane{kind: taskLane, born: c.from, parent: c.giver, started: c.stack, item: c.item})
}

// receivesItem tells the chain of a task that receives from a memory channel of trio's for a function of the application's.
func receivesItem(chain []Frame) bool {
	const inside = 4 // functions of trio's that may lie between
	for i := len(chain) - 1; i >= max(len(chain)-inside, 1); i-- {
		if !ofTrio(chain[i].Func.ShortFile) {
			return false
		}
		if ofFile(chain[i].Func, trioChannelFile, "receive") {
			caller := chain[i-1].Func
			if i > 1 && ofTrio(caller.ShortFile) { // __anext__
				caller = chain[i-2].Func
			}
			return caller.App
		}
	}
	return false
}

// waitsForThread tells the chain of a task that waits in trio.to_thread.run_sync.
func waitsForThread(chain []Frame) bool {
	for i := range chain {
		if ofFile(chain[i].Func, trioThreadsFile, "to_thread_run_sync") {
			return true
		}
	}
	return false
}

func ofTrio(file string) bool { return strings.HasPrefix(file, "trio/") }
