// Package trace makes requests out of events: it follows the bytes of each connection, keeps what every
// thread did meanwhile as slices of time with a stack, and lays the slices of a request's own lane end
// to end into a call tree whose times are wall-clock. It knows nothing of kernels or memory.
package trace

import (
	"apm-ebpf/internal/http1"
)

// Tracer takes events in the order of their times. Its methods are for one goroutine.
type Tracer struct {
	// SamplePeriod is that of the CPU clocks, ns, 0 where it is not known: what runs is sampled as often.
	SamplePeriod uint64

	sampleEvery uint32
	finished    func(*Request)
	processes   map[uint32]*process
	paths       int // of all of them
	conns       map[uint64]*conn
	recent      [256]*conn // of conns, by a few bits of their names: most events are of few
	spare       []*conn    // that have ended, for others
	over        []*Request // the same
	lostReads   uint64     // of connections that have ended
	requests    http1.Pool
	passed      passed
	clocks      uint64 // since when samples are taken
	quiet       []quiet
	builder     builder
	profile     Profile
}

// New makes a Tracer that hands every request to finished as it ends; its Profile can be asked for until
// that returns. sampleEvery is how many requests there are to each that gets stacks.
func New(sampleEvery uint32, finished func(*Request)) *Tracer {
	return &Tracer{
		sampleEvery: sampleEvery,
		finished:    finished,
		processes:   map[uint32]*process{},
		conns:       map[uint64]*conn{},
	}
}

// Watching tells whether a sampled request is open anywhere, or may begin within a window that has not been ended yet, of
// which the kernel programs tell nobody.
func (t *Tracer) Watching() bool {
	if len(t.quiet) > 0 {
		return true
	}
	for _, p := range t.processes {
		if p.watched() {
			return true
		}
	}
	return false
}

func (t *Tracer) process(pid uint32) *process {
	p := t.processes[pid]
	if p == nil {
		p = newProcess()
		p.contexts.all = &t.paths
		p.clocks = t.clocks
		if t.SamplePeriod != 0 {
			p.period, p.lapse = t.SamplePeriod, t.SamplePeriod+late
		}
		t.processes[pid] = p
	}
	return p
}

// watch gives the thread if it is worth following.
func (t *Tracer) watch(pid, tid uint32) (*process, *thread) {
	p := t.processes[pid]
	if !p.watched() {
		return nil, nil
	}
	return p, p.thread(tid)
}

// Sample takes a stack seen on a CPU.
func (t *Tracer) Sample(pid, tid uint32, now uint64, s *Stack) {
	if _, th := t.watch(pid, tid); th != nil {
		th.worksFor(now, s, false)
		th.sample(now, s)
		th.trim()
	}
}

// SwitchOut takes the stack with which a thread leaves its CPU.
func (t *Tracer) SwitchOut(pid, tid uint32, now uint64, s *Stack, why Reason) {
	if _, th := t.watch(pid, tid); th != nil {
		th.worksFor(now, s, true)
		th.leave(now, s, why)
		if s.Foreign && why == Poll {
			th.polled = now
		}
		th.rests(now)
		th.awaits(now, s.Awaits, s.Future)
		th.trim()
	}
}

// ThreadEnded takes that a thread has left its CPU for good.
func (t *Tracer) ThreadEnded(pid, tid uint32, now uint64) {
	if p, th := t.watch(pid, tid); th != nil {
		th.ends(now)
		p.buries(th)
	} else if p := t.processes[pid]; p != nil {
		p.forget(tid)
	}
}

// SwitchIn takes a thread's return to a CPU.
func (t *Tracer) SwitchIn(pid, tid uint32, now uint64) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	if g := p.offCPU[tid]; g != nil {
		delete(p.offCPU, tid)
		g.resume(now)
	} else {
		th.resume(now)
	}
}

// Wake takes the moment from which a thread may run again.
func (t *Tracer) Wake(pid, tid uint32, now uint64) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	if g := p.offCPU[tid]; g != nil {
		g.wake(now)
	} else {
		th.wake(now)
	}
}

// Write takes the stack of the thread that is about to tell its first write of an answer by Sent.
func (t *Tracer) Write(pid, tid uint32, now uint64, s *Stack) {
	if _, th := t.watch(pid, tid); th != nil {
		if s.Foreign {
			th.foreign = now
		}
		th.beginsAnswer(s)
		th.cut(now, s)
		th.wrote = now
	}
}

// Task takes the creation of an asyncio task around a coroutine, whose result a concurrent.futures.Future may get.
func (t *Tracer) Task(pid, tid uint32, now uint64, s *Stack, coroutine, future uint64) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	p.sweep()
	parent, stack := th.creates(now, s)
	l := p.startsTask(coroutine, &lane{kind: taskLane, born: now, parent: parent, started: stack, item: th.item})
	th.makes(l)
	p.bridged(l, coroutine)
	p.promised(l, future)
	l.nobodys = th.callsMaker(l, s)
}

// Scope takes for which request the application is called that a stack of the same time shows, or a task just made;
// nil: it is not known.
func (t *Tracer) Scope(pid, tid uint32, now uint64, s *Scope) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	var r *Request
	several := false
	if s != nil {
		r, several = p.asked(s)
		p.scoped = p.scoped || r != nil
		if r != nil {
			r.shown = true
		}
	}
	if s == nil || s.Coroutine == 0 {
		th.scope, th.scoped = r, now
		th.doubts(s, r, several)
	} else if l := p.tasks[s.Coroutine]; l != nil && r != nil {
		r.calls(l)
	}
}

// Step takes the beginning of a step of a task: the one before on the thread has ended.
func (t *Tracer) Step(pid, tid uint32, now uint64, step Step) {
	if _, th := t.watch(pid, tid); th != nil {
		th.stepBegins(now, step)
		th.trim()
	}
}

// TaskEnded takes that a task has ended, without a step, by which others' ends are told.
func (t *Tracer) TaskEnded(pid, tid uint32, now uint64, coroutine uint64) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	if l := p.tasks[coroutine]; l != nil && !l.ended {
		th.endsEager(now, l)
	}
}

// Job takes that a thread puts an object into a queue, from which another may take it to run it.
func (t *Tracer) Job(pid, tid uint32, now uint64, s *Stack, object, deque uint64) {
	p := t.processes[pid]
	if p == nil {
		return
	}
	p.queues.puts++
	if !p.watched() {
		return
	}
	th := p.thread(tid)
	if giver, stack := th.creates(now, s); giver != nil && !stack.endsExecutor() && !th.putsBack(object, deque, s) {
		p.greenJobs = p.greenJobs || giver.kind == greenletLane && stack.submits()
		p.puts(&job{item: object, from: now, giver: giver, stack: stack, work: s.Work, outer: th.item, idle: !th.handsOut(now)})
	}
}

// Take takes that a thread takes an object from a queue, deque as for Job.
func (t *Tracer) Take(pid, tid uint32, now uint64, s *Stack, object, deque uint64) {
	if _, th := t.watch(pid, tid); th != nil {
		th.takes(now, s, object, deque)
	}
}

// Arm takes that a thread asks to be told when a connection can be written to: it has the answer.
func (t *Tracer) Arm(pid, tid uint32, now uint64, s *Stack, connection uint64) {
	_, th := t.watch(pid, tid)
	c := t.find(connection)
	if th == nil || c == nil || len(c.requests) == 0 {
		return
	}
	th.cut(now, s)
	if r := c.requests[0]; r.FirstWrite == 0 && th.lane != &th.home {
		r.armed = th.lane
	}
}

// Spawn takes the creation of a greenlet.
func (t *Tracer) Spawn(pid, tid uint32, now uint64, s *Stack, object uint64) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	p.sweep()
	th.runsGreenlets(s)
	parent, stack := th.creates(now, s)
	l := &lane{kind: greenletLane, object: object, born: now, parent: parent, started: stack, item: th.item}
	p.objects[object] = l
	p.greenPools = p.greenPools || stack.startsWorker()
	if parent != nil {
		parent.starts(l)
	}
}

// Greenlet takes the stack of a greenlet that gives its thread to another, which object names.
func (t *Tracer) Greenlet(pid, tid uint32, now uint64, s *Stack, object uint64) {
	if p, th := t.watch(pid, tid); th != nil {
		p.sweep()
		th.greenletLeaves(now, s, object)
	}
}

// Thread takes the start of a thread.
func (t *Tracer) Thread(pid, tid uint32, now uint64, s *Stack, started uint32) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	p.forget(started) // what had the number before
	if giver, stack := th.creates(now, s); giver != nil {
		th.handsOut(now)
		w := p.thread(started)
		w.gets(grant{from: now, giver: giver, work: s.Work, item: th.item, stack: stack, started: true})
	}
}

// Handoff takes that a thread woke another that waited on a futex for work.
func (t *Tracer) Handoff(pid, tid uint32, now uint64, s *Stack, woken uint32) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	giver, stack := th.creates(now, s)
	if back := th.putBackAt; back != nil && stack.belowQueue() == back { // who waits for it is let go on
		return
	}
	w := p.thread(woken)
	if giver != nil && w != th && woken != pid && !w.servesItself() && w.givenBy(stack) {
		th.handsOut(now)
	}
	if giver == &th.home && w.lane != nil && th.mayHaveServed(stack) &&
		ofFile(w.stack.function(), threadFile, "wait") { // for what another does; elsewhere it waits for a lock
		w.lane.unsure = now
	}
	if giver != nil && (stack.ofPool() || w.stack.outermost().ofPool()) { // what its threads do is not told
		if !stack.looksUpName() && !p.tellsPool(stack) {
			giver.unsure = now
		}
		return
	}
	switch {
	case giver == nil || w == th || ofFile(stack.function(), executorFile, "_worker"): // it passes on the queue's lock
	case giver == &th.home && endsJob(stack.jobOf()):
		th.answersJob(now, w)
	case woken != pid && !p.serves(woken): // a process's first thread gives work
		w.given(grant{from: now, giver: giver, work: s.Work, item: th.item, stack: stack})
	}
}

// Exit takes the end of a process: its open requests end there. It gives its connections on Unix sockets, as Vanished does.
func (t *Tracer) Exit(pid uint32, now uint64) (gone []Connection) {
	gone = t.endAll(func(c *conn) bool { return c.pid == pid }, TargetExited, now)
	if p := t.processes[pid]; p != nil {
		p.contexts.forget()
		delete(t.processes, pid)
	}
	return gone
}

// Stop ends every open request because the agent ends.
func (t *Tracer) Stop(now uint64) {
	t.endAll(func(*conn) bool { return true }, AgentStopped, now)
}

func (t *Tracer) endAll(which func(*conn) bool, why Cut, now uint64) (gone []Connection) {
	for _, c := range t.conns {
		if !which(c) {
			continue
		}
		for _, h := range c.http.Close(now, http1.Exited) {
			h.End, h.NoResponse = now, h.FirstWrite == 0
			if r, ok := h.Owner.(*Request); ok {
				r.Cut = why
			}
			t.finish(c, h, now)
		}
		if c.inode != 0 {
			gone = append(gone, c.left())
		}
		t.drop(c, now)
	}
	return gone
}
