package trace

import (
	"slices"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/http1"
)

// Open takes a connection that was not known.
func (t *Tracer) Open(o Connection, now uint64) {
	t.Close(o.ID, http1.Closed, now) // its end was lost
	c := t.newConn(o.ID)
	c.process, c.pid, c.local, c.remote, c.inode = t.process(o.PID), o.PID, o.Local, o.Remote, o.Inode
}

// newConn gives a connection of which nothing is known, from those that have ended where there are any.
func (t *Tracer) newConn(id uint64) *conn {
	var c *conn
	if n := len(t.spare); n > 0 {
		c, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		c = &conn{}
		c.http.Use(&t.requests)
	}
	c.id = id
	t.conns[id] = c
	*t.slot(id) = c
	return c
}

// slot is where a connection is in recent, if it is.
func (t *Tracer) slot(id uint64) **conn {
	const mix = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: the lower bits of addresses are alike
	return &t.recent[id*mix>>56]
}

// find gives a connection, nil if it is not known.
func (t *Tracer) find(id uint64) *conn {
	slot := t.slot(id)
	if c := *slot; c != nil && c.id == id {
		return c
	}
	c := t.conns[id]
	if c != nil {
		*slot = c
	}
	return c
}

// drop takes that a connection has ended.
func (t *Tracer) drop(c *conn, now uint64) {
	c.process.closed(c, now)
	t.lostReads += c.http.LostReads()
	delete(t.conns, c.id)
	if slot := t.slot(c.id); *slot == c {
		*slot = nil
	}
	if len(t.spare) < sparesMax {
		c.reset()
		t.spare = append(t.spare, c)
	}
}

func (t *Tracer) conn(x *Transfer) *conn {
	c := t.find(x.Connection)
	if c == nil { // its beginning was lost
		c = t.newConn(x.Connection)
	}
	if c.process == nil || c.pid != x.PID {
		t.move(c, x)
	}
	c.lost = x.Lost
	return c
}

// move takes that another process serves the connection than was thought.
func (t *Tracer) move(c *conn, x *Transfer) {
	open := c.openAt > 0
	if c.process != nil {
		c.process.closed(c, x.Time)
	}
	c.process, c.pid = t.process(x.PID), x.PID
	if open {
		c.process.opened(c)
	}
}

// processOf gives the process that makes a transfer on the connection.
func (t *Tracer) processOf(c *conn, pid uint32) *process {
	if c.pid == pid && c.process != nil {
		return c.process
	}
	return t.process(pid)
}

// LostReads is how many places there were in what targets read from where on requests may have been missed.
func (t *Tracer) LostReads() uint64 {
	lost := t.lostReads
	for _, c := range t.conns {
		lost += c.http.LostReads()
	}
	return lost
}

// Received takes what a target read.
func (t *Tracer) Received(x *Transfer) {
	c := t.conn(x)
	if x.Begins {
		if !c.sampled || !x.Sampled || len(c.requests) == 0 { // else a body may be read on while it is answered
			c.process.closed(c, x.Time)
		}
		c.begun, c.sampled = x.Begun, x.Sampled
		if c.sampled {
			c.process.opened(c)
		}
	}
	if x.Begins || x.Goroutine.ID != c.reader {
		c.reader, c.reads = x.Goroutine.ID, x.Time
	}
	if th := c.process.threads[x.TID]; th != nil && th.callback != nil && th.callback.conn != c {
		th.callback = nil
	}
	if c.sampled {
		c.process.cut(c, x, !x.Begins && !x.Framed)
	}
	if x.Missed {
		c.http.Missed()
	}
	c.framed = x.Framed
	opened, ended := c.http.Read(x.Time, x.Chunk)
	if len(opened) > 0 && x.Sampled && !c.sampled { // the kernel programs have not been told yet that the window is over
		c.sampled = true
		c.process.opened(c)
	}
	t.finishAll(c, ended, x.Time)
	for i, h := range opened {
		t.begin(c, h, x, i == 0, len(opened) == 1)
	}
	t.finishAll(c, ended, x.Time) // streams that the client has reset within the read that brought them
	t.settleDown(c, x.Time)
}

// Sent takes what a target wrote. Its Chunk.Len is -errno where the write failed.
func (t *Tracer) Sent(x *Transfer) {
	c := t.find(x.Connection)
	if c == nil {
		return
	}
	if x.Missed {
		c.http.Missed()
	}
	if x.Chunk.Len < 0 {
		if isFinal(-x.Chunk.Len) {
			c.hungUp = true
			t.end(c, http1.WriteFailed, x.Time)
		}
		return
	}
	c.lost = x.Lost
	p, goesOn := t.processOf(c, x.PID), false
	if len(c.requests) > 0 {
		first := c.requests[0]
		goesOn = !x.Framed && first.FirstWrite != 0
		if c.sampled {
			p.cut(c, x, goesOn)
		}
		if goesOn {
			first.writesToo(x)
		}
	}
	c.wrote = x.Time
	began, ended := c.http.Wrote(x.Time, x.Chunk)
	if goesOn && len(ended) > 0 {
		if th := p.threads[x.TID]; th != nil { // what it does next is for another
			th.cut(x.Time, nil)
		}
	}
	for _, h := range began {
		if r, ok := h.Owner.(*Request); ok {
			r.PID, r.TID = x.PID, x.TID
			if r.Sampled {
				if p == c.process { // stacks are taken of the process that has read the request
					r.lane = p.answers(r, x)
				}
				if r.lane == nil || r.misses(x) {
					r.lane = r.answerer()
				}
				r.Undecided = r.lane == nil
				if th := p.threads[x.TID]; th != nil {
					th.turnsTo(r)
				}
			}
		}
	}
	t.finishAll(c, ended, x.Time)
	t.settleDown(c, x.Time)
}

// isFinal tells by the error of a write that no other can follow. One that was interrupted by a signal before it sent
// anything is made again, be it by the kernel, which has numbers of its own for that (include/linux/errno.h).
func isFinal(errno int) bool {
	const restartSys, restartBlock = 512, 516
	switch unix.Errno(errno) {
	case unix.EINTR, unix.EAGAIN, unix.ENOMEM, unix.ENOBUFS:
		return false
	}
	return errno < restartSys || errno > restartBlock
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
// tells, and gives them. What was still written on them may not have been told by now, so they end at the second look.
func (t *Tracer) Vanished(pid uint32, there map[uint64]bool, now uint64) (gone []Connection) {
	for id, c := range t.conns {
		switch {
		case c.inode == 0 || c.pid != pid || there[c.inode]:
		case c.vanished == 0:
			c.vanished = now
		default:
			gone = append(gone, c.left())
			t.Close(id, http1.Closed, c.vanished)
		}
	}
	return gone
}

// HungUp takes that the peer reset a connection. The server may still be at work for it.
func (t *Tracer) HungUp(connection uint64) {
	if c := t.find(connection); c != nil {
		c.hungUp = true
	}
}

// Close takes the end of a connection.
func (t *Tracer) Close(connection uint64, why http1.CloseReason, now uint64) {
	c := t.find(connection)
	if c == nil {
		return
	}
	if c.hungUp && why == http1.Closed {
		why = http1.PeerGone
	}
	t.end(c, why, now)
	t.drop(c, now)
}

func (t *Tracer) end(c *conn, why http1.CloseReason, now uint64) {
	t.finishAll(c, c.http.Close(now, why), now)
	t.settleDown(c, now)
}

// settleDown notes a window in which nothing is open any more.
func (t *Tracer) settleDown(c *conn, now uint64) {
	if !c.sampled || !c.http.Idle() {
		return
	}
	c.process.closed(c, now)
	c.sampled = false
	t.quiet = append(t.quiet, quiet{Window{c.id, c.begun}, now})
}

// quiet is a window in which nothing is open, since a time in ns.
type quiet struct {
	Window
	since uint64
}

// A window stays open for so long after its last request, ns. Ending it takes a call, which the next request on the
// connection saves; and a request of HTTP/2 that is read while it is being ended gets no stacks.
const (
	linger       = 20_000_000
	framedLinger = 200_000_000
)

// Quiet tells the windows that have ended while their connections stay open, and forgets them.
func (t *Tracer) Quiet(now uint64, yield func(Window)) {
	t.quiet = slices.DeleteFunc(t.quiet, func(w quiet) bool {
		c := t.find(w.Connection)
		if c == nil || c.begun != w.Begun || c.sampled {
			return true
		}
		if now < w.since+linger || c.framed && now < w.since+framedLinger {
			return false
		}
		yield(w.Window)
		return true
	})
}
