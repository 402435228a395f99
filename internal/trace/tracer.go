// Package trace makes requests out of events: it follows the bytes of each connection, keeps what every
// thread did meanwhile as slices of time with a stack, and lays the slices of a request's own lane end
// to end into a call tree whose times are wall-clock. It knows nothing of kernels or memory.
package trace

import (
	"apm-ebpf/internal/http1"
)

// Tracer takes events in the order of their times. Its methods are for one goroutine.
type Tracer struct {
	sampleEvery uint32
	finished    func(*Request)
	processes   map[uint32]*process
	conns       map[uint64]*conn
	quiet       []Window
	builder     builder
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

// Watching tells whether a sampled request is open anywhere.
func (t *Tracer) Watching() bool {
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
	if p, th := t.watch(pid, tid); th != nil {
		th.sample(now, s)
		p.trim(th)
	}
}

// SwitchOut takes the stack with which a thread leaves its CPU.
func (t *Tracer) SwitchOut(pid, tid uint32, now uint64, s *Stack, why Reason) {
	if p, th := t.watch(pid, tid); th != nil {
		th.leave(now, s, why)
		th.rests(now)
		p.trim(th)
	}
}

// SwitchIn takes a thread's return to a CPU.
func (t *Tracer) SwitchIn(pid, tid uint32, now uint64) {
	if _, th := t.watch(pid, tid); th != nil {
		th.resume(now)
	}
}

// Wake takes the moment from which a thread may run again.
func (t *Tracer) Wake(pid, tid uint32, now uint64) {
	if _, th := t.watch(pid, tid); th != nil {
		th.wake(now)
	}
}

// Write takes the stack of the thread that is about to tell its first write of an answer by Sent.
func (t *Tracer) Write(pid, tid uint32, now uint64, s *Stack) {
	if _, th := t.watch(pid, tid); th != nil {
		th.cut(now, s)
	}
}

// Task takes the creation of an asyncio task around a coroutine.
func (t *Tracer) Task(pid, tid uint32, now uint64, s *Stack, coroutine uint64) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	p.sweep()
	parent, stack := th.creates(now, s)
	l := &lane{kind: taskLane, limit: foldAt, born: now, parent: parent, started: stack}
	p.tasks[coroutine] = l
	if parent != nil {
		parent.starts(l)
	}
}

// Step takes the beginning of a step of a task: the one before on the thread has ended.
func (t *Tracer) Step(pid, tid uint32, now uint64, step Step) {
	if p, th := t.watch(pid, tid); th != nil {
		th.stepBegins(now, step)
		p.trim(th)
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
	delete(p.threads, started) // what had the number before
	if giver, stack := th.creates(now, s); giver != nil {
		w := p.thread(started)
		w.home.grants = bounded(append(w.home.grants, grant{from: now, giver: giver, work: s.Work, stack: stack, started: true}))
	}
}

// Handoff takes that a thread woke another that waited on a futex for work.
func (t *Tracer) Handoff(pid, tid uint32, now uint64, s *Stack, woken uint32) {
	p, th := t.watch(pid, tid)
	if th == nil {
		return
	}
	giver, stack := th.creates(now, s)
	switch w := p.thread(woken); {
	case giver == nil || w == th || ofFile(stack.function(), executorFile, "_worker"): // it passes on the queue's lock
	case giver == &th.home && endsJob(stack.jobOf()):
		th.answersJob(now, w)
	case woken != pid && !p.serves(woken): // a process's first thread gives work
		w.given(grant{from: now, giver: giver, work: s.Work, stack: stack})
	}
}

// Open takes a connection that was not known.
func (t *Tracer) Open(o Connection, now uint64) {
	t.Close(o.ID, http1.Closed, now) // its end was lost
	t.conns[o.ID] = &conn{
		id: o.ID, process: t.process(o.PID), pid: o.PID, local: o.Local, remote: o.Remote, inode: o.Inode,
	}
}

func (t *Tracer) conn(x *Transfer) *conn {
	c := t.conns[x.Connection]
	if c == nil { // its beginning was lost
		c = &conn{id: x.Connection}
		t.conns[x.Connection] = c
	}
	c.process, c.pid, c.lost = t.process(x.PID), x.PID, x.Lost
	return c
}

// Received takes what a target read.
func (t *Tracer) Received(x *Transfer) {
	c := t.conn(x)
	if x.Begins {
		c.process.closed(c)
		c.begun, c.sampled = x.Begun, x.Sampled
		if c.sampled {
			c.process.opened(c)
		}
	}
	if c.sampled {
		c.process.thread(x.TID).cut(x.Time, nil)
	}
	if x.Missed {
		c.http.Missed()
	}
	opened, ended := c.http.Read(x.Time, x.Chunk)
	for _, h := range ended {
		t.finish(c, h, x.Time)
	}
	for i, h := range opened {
		t.begin(c, h, x, i == 0)
	}
	t.settleDown(c)
}

// Sent takes what a target wrote. Its Chunk.Len is negative where the write failed.
func (t *Tracer) Sent(x *Transfer) {
	c := t.conns[x.Connection]
	if c == nil {
		return
	}
	if x.Chunk.Len < 0 {
		c.hungUp = true
		t.end(c, http1.WriteFailed, x.Time)
		return
	}
	c.lost = x.Lost
	if c.sampled && len(c.requests) > 0 {
		t.process(x.PID).thread(x.TID).cut(x.Time, nil)
	}
	c.wrote = x.Time
	if x.Missed {
		c.http.Missed()
	}
	began, ended := c.http.Wrote(x.Time, x.Chunk)
	for _, h := range began {
		if r, ok := h.Owner.(*Request); ok {
			r.PID, r.TID = x.PID, x.TID
			if r.Sampled {
				r.lane = t.process(x.PID).thread(x.TID).answers(r)
				r.Undecided = r.lane == nil
			}
		}
	}
	for _, h := range ended {
		t.finish(c, h, x.Time)
	}
	t.settleDown(c)
}

// UnixSockets tells which processes serve on Unix sockets, and whether a request is open on any.
func (t *Tracer) UnixSockets() (pids map[uint32]bool, open bool) {
	for _, c := range t.conns {
		if c.inode == 0 {
			continue
		}
		if pids == nil {
			pids = map[uint32]bool{}
		}
		pids[c.pid] = true
		open = open || len(c.requests) > 0
	}
	return pids, open
}

// Vanished ends the connections on Unix sockets of a process that are not there any more, which nothing else
// tells. It gives their names.
func (t *Tracer) Vanished(pid uint32, there map[uint64]bool, now uint64) (gone []uint64) {
	for id, c := range t.conns {
		if c.inode != 0 && c.pid == pid && !there[c.inode] {
			t.Close(id, http1.Closed, now)
			gone = append(gone, id)
		}
	}
	return gone
}

// HungUp takes that the peer reset a connection. The server may still be at work for it.
func (t *Tracer) HungUp(connection uint64) {
	if c := t.conns[connection]; c != nil {
		c.hungUp = true
	}
}

// Close takes the end of a connection.
func (t *Tracer) Close(connection uint64, why http1.CloseReason, now uint64) {
	c := t.conns[connection]
	if c == nil {
		return
	}
	if c.hungUp && why == http1.Closed {
		why = http1.PeerGone
	}
	t.end(c, why, now)
	c.process.closed(c)
	delete(t.conns, connection)
}

func (t *Tracer) end(c *conn, why http1.CloseReason, now uint64) {
	for _, h := range c.http.Close(now, why) {
		t.finish(c, h, now)
	}
	t.settleDown(c)
}

// Exit takes the end of a process: its open requests end there.
func (t *Tracer) Exit(pid uint32, now uint64) {
	t.endAll(func(c *conn) bool { return c.pid == pid }, TargetExited, now)
	delete(t.processes, pid)
}

// Stop ends every open request because the agent ends.
func (t *Tracer) Stop(now uint64) {
	t.endAll(func(*conn) bool { return true }, AgentStopped, now)
}

func (t *Tracer) endAll(which func(*conn) bool, why Cut, now uint64) {
	for id, c := range t.conns {
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
		c.process.closed(c)
		delete(t.conns, id)
	}
}

// settleDown notes a window in which nothing is open any more.
func (t *Tracer) settleDown(c *conn) {
	if !c.sampled || !c.http.Idle() {
		return
	}
	c.process.closed(c)
	c.sampled = false
	t.quiet = append(t.quiet, Window{c.id, c.begun})
}

// Quiet tells the windows that have ended while their connections stay open, and forgets them.
func (t *Tracer) Quiet(yield func(Window)) {
	for _, w := range t.quiet {
		if c := t.conns[w.Connection]; c != nil && c.begun == w.Begun {
			yield(w)
		}
	}
	t.quiet = t.quiet[:0]
}
