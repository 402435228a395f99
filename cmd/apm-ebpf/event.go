package main

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/http1"
	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/trace"
)

// arrived takes a first look at an event, before those that happened earlier have been handled.
func (a *agent) arrived(e *probe.Event) {
	a.begun = a.begun || e.Begins()
	switch e.Kind {
	case probe.KindTLS: // a request may follow at once
		a.urgency.lower() // it takes milliseconds
		a.services.sawTLS(e.PID, e.Thread().Peer == probe.TLSUnseen)
	case probe.KindRecv, probe.KindSend, probe.KindServe, probe.KindServed:
		if s := a.services.goService(e.PID); s != nil {
			s.arrived(e)
			a.goroutines.count(e)
		}
	}
}

// handle takes one event of the kernel programs.
func (a *agent) handle(e *probe.Event) {
	a.tellSights(e.Time)
	switch e.Kind {
	case probe.KindSwitchIn:
		a.tracer.SwitchIn(e.PID, e.TID, e.Time)
	case probe.KindWake:
		a.tracer.Wake(e.PID, e.TID, e.Time)
	case probe.KindOpen:
		c := e.Conn()
		local, remote := address(c.Family, c.Local, c.LocalPort), address(c.Family, c.Remote, c.RemotePort)
		a.tracer.Open(trace.Connection{ID: c.Connection, PID: e.PID, Local: local, Remote: remote, Inode: c.Inode}, e.Time)
		if uint32(c.Flags)&probe.ByPeer != 0 {
			a.tracer.HungUp(c.Connection)
		}
	case probe.KindRecv:
		a.tracer.Received(a.transferOf(e))
	case probe.KindSend:
		a.tracer.Sent(a.transferOf(e))
	case probe.KindClose:
		a.connectionClosed(e)
	case probe.KindCode:
		if s := a.services.of(e.PID); s != nil {
			s.told(e.Code())
		}
	case probe.KindScope:
		if s := a.services.of(e.PID); s != nil {
			a.tracer.Scope(e.PID, e.TID, e.Time, s.scope(e.Scope()))
		}
	case probe.KindFork:
		a.services.forked(e.PID, e.Thread().Peer)
	case probe.KindExec:
		a.execed(e.PID, e.Time)
	case probe.KindExit:
		a.exited(e.PID, e.Time)
	case probe.KindTLS:
	default:
		a.stack(e)
	}
}

func (a *agent) exited(pid uint32, at uint64) {
	for _, gone := range a.tracer.Exit(pid, at) {
		a.hinder(a.probe.Forget(gone.ID, gone.Inode))
	}
	a.services.forget(int(pid))
}

// execed takes the end of a process's program; what it runs now may be a target again.
func (a *agent) execed(pid uint32, at uint64) {
	a.exited(pid, at)
	a.services.later(int(pid), time.Now())
}

func (a *agent) stack(e *probe.Event) {
	s := a.services.of(e.PID)
	if s == nil {
		return
	}
	if s.golang != nil {
		a.goroutine(s.golang, e)
		return
	}
	event := e.Stack()
	switch e.Kind {
	case probe.KindSample:
		a.tracer.Sample(e.PID, e.TID, e.Time, s.stackOf(e))
	case probe.KindSwitchOut:
		wait := s.wait(event)
		if wait.ForEver() {
			a.tracer.ThreadEnded(e.PID, e.TID, e.Time)
			return
		}
		stack := s.stackOf(e)
		stack.Mutex = s.isMutex(wait)
		a.tracer.SwitchOut(e.PID, e.TID, e.Time, stack, wait.Reason())
		a.services.sawStack(s)
	case probe.KindWrite:
		a.tracer.Write(e.PID, e.TID, e.Time, s.stackOf(e))
	case probe.KindTask:
		a.tracer.Task(e.PID, e.TID, e.Time, s.stackOf(e), event.Object, event.Args[0])
	case probe.KindStep:
		a.tracer.Step(e.PID, e.TID, e.Time, s.step(e))
	case probe.KindEnded:
		a.tracer.TaskEnded(e.PID, e.TID, e.Time, event.Object)
	case probe.KindJob:
		a.tracer.Job(e.PID, e.TID, e.Time, s.stackOf(e), event.Object, event.Args[0])
	case probe.KindTake:
		a.tracer.Take(e.PID, e.TID, e.Time, s.stackOf(e), event.Object, event.Args[0])
	case probe.KindArm:
		a.tracer.Arm(e.PID, e.TID, e.Time, s.stackOf(e), event.Object)
	case probe.KindCopy:
		a.tracer.Copied(e.PID, e.TID, e.Time, s.stackOf(e), event.Object)
	case probe.KindSpawn:
		a.tracer.Spawn(e.PID, e.TID, e.Time, s.stackOf(e), event.Object)
	case probe.KindGreenlet:
		a.tracer.Greenlet(e.PID, e.TID, e.Time, s.stackOf(e), event.Object)
	case probe.KindThread:
		a.tracer.Thread(e.PID, e.TID, e.Time, s.stackOf(e), uint32(event.Args[0]))
	case probe.KindHandoff:
		a.tracer.Handoff(e.PID, e.TID, e.Time, s.stackOf(e), uint32(event.Args[0]))
		a.services.sawStack(s)
	}
}

func (a *agent) goroutine(s *goService, e *probe.Event) {
	event := e.Go()
	by := trace.Goroutine{ID: event.Goroutine, Address: event.G, Left: uint8(event.Ran)}
	switch e.Kind {
	case probe.KindGoSample:
		a.tracer.GoSample(e.PID, by, e.Time, s.ran(e))
	case probe.KindGoSwitchOut:
		if event.State == 0 && event.Syscall < 0 {
			a.tracer.GoPreempted(e.PID, e.TID, by, e.Time, s.ran(e))
			return
		}
		why := trace.Wait{State: event.State, Syscall: int(event.Syscall), Args: event.Args, Mode: event.Mode}.Reason()
		a.tracer.GoSwitchOut(e.PID, e.TID, by, e.Time, s.ran(e), why)
	case probe.KindServe:
		serve := e.Serve()
		by := trace.Goroutine{ID: serve.Goroutine, Address: serve.G, Left: uint8(serve.Ran)}
		a.tracer.Serve(serve.Connection, serve.Stream, by, e.Time)
	}
}

func (a *agent) transferOf(e *probe.Event) *trace.Transfer {
	io := e.IO()
	head, tail := e.Data()
	by := trace.Goroutine{ID: io.Goroutine, Address: io.G, Left: uint8(io.Ran)}
	lost := io.Lost
	if s := a.services.goService(e.PID); s != nil {
		by.Enters = s.enters
	} else if s := a.services.seen(e.PID); s != nil {
		lost += s.namesLost
	}
	a.transfer = trace.Transfer{
		Connection: io.Connection,
		Begun:      io.Request,
		Begins:     io.Flags&probe.Begins != 0,
		Sampled:    io.Flags&probe.Sampled != 0,
		Framed:     io.Flags&probe.Framed != 0,
		PID:        e.PID,
		TID:        e.TID,
		Time:       e.Time,
		Lost:       lost,
		Missed:     io.Flags&probe.Missed != 0,
		Goroutine:  by,
		Chunk:      http1.Chunk{Head: head, Tail: tail, Len: int(io.Length)},
	}
	return &a.transfer
}

func (a *agent) connectionClosed(e *probe.Event) {
	c := e.Conn()
	switch flags := uint32(c.Flags); {
	case flags == probe.ByPeer: // a reset: the server has yet to find out
		a.tracer.HungUp(c.Connection)
	case flags&probe.ByPeer != 0:
		a.tracer.Close(c.Connection, http1.PeerGone, e.Time)
	default:
		a.tracer.Close(c.Connection, http1.Closed, e.Time)
	}
	if s := a.services.goService(e.PID); s != nil {
		s.closed(c.Connection, e.Time)
	}
}

// address is that of one end of a connection; not valid on a Unix socket.
func address(family uint16, bytes [16]byte, port uint16) netip.AddrPort {
	switch family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(bytes[:4])), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(bytes).Unmap(), port)
	}
	return netip.AddrPort{}
}
