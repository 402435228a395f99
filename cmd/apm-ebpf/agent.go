package main

import (
	"context"
	"net/netip"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"apm-ebpf/internal/emit"
	"apm-ebpf/internal/http1"
	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

const (
	pollEvery     = 50 * time.Millisecond  // while requests are open: one wake-up for all of their events
	sampleLinger  = 100 * time.Millisecond // sampling stays on for so long after the last request
	idlePoll      = time.Second            // with sampling off the next request wakes the agent
	unsampledPoll = 200 * time.Millisecond // but one that is not sampled does not
	unixEvery     = 5 * time.Second
	stopTimeout   = time.Second // for the last records to be written
)

// agent turns the events of the kernel programs into records.
type agent struct {
	options  *options
	log      zerolog.Logger
	probe    *probe.Probe
	tracer   *trace.Tracer
	services *services
	records  *emit.Log
	encoder  emit.Encoder
	line     []byte
	written  uint64

	wallClock uint64    // Unix time less CLOCK_MONOTONIC, ns
	busy      time.Time // when a sampled request was last open
	since     time.Time // when sampling was last switched
	switched  bool      // it was, since the last poll
	unixLook  time.Time // when Unix sockets were last looked at
	full      chan struct{}
	transfer  trace.Transfer
}

// run is the agent's life: it returns when it was told to stop, or has nothing left to do.
func run(ctx context.Context, o *options, log zerolog.Logger, reopen <-chan os.Signal) error {
	a := &agent{options: o, log: log, full: make(chan struct{})}
	var err error
	a.records, err = emit.OpenLog(emit.LogOptions{Path: o.logFile, Report: func(err error) {
		log.Warn().Err(err).Msg("records are lost")
	}})
	if err != nil {
		return err
	}
	defer a.closeLog()
	if a.probe, err = probe.Open(probe.Config{Frequency: o.frequency, SampleEvery: uint32(o.sampleRate), BTF: o.btf, Log: log}); err != nil {
		return err
	}
	defer a.probe.Close()
	a.tracer = trace.New(uint32(o.sampleRate), a.finished)
	a.services = &services{probe: a.probe, options: o, log: log, known: map[int]*service{}, young: map[int]*visit{}}
	for _, pid := range o.pids {
		if err := a.services.addRoot(pid); err != nil {
			return err
		}
	}
	for _, on := range []bool{true, false} { // the first time takes milliseconds, which a request should not pay
		if err := a.probe.SetSampling(on); err != nil {
			return err
		}
	}
	log.Log().Ints("pids", a.services.pids()).Int("frequency", a.probe.Frequency()).Msg("ready")
	return a.loop(ctx, reopen)
}

// loop polls until there is a reason to stop.
func (a *agent) loop(ctx context.Context, reopen <-chan os.Signal) error {
	stopWaking := context.AfterFunc(ctx, a.probe.Wake)
	defer stopWaking()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		if why := a.over(ctx); why != "" {
			return a.stop(why)
		}
		if err := a.poll(); err != nil {
			return err
		}
		if a.sampling() {
			pause.Reset(pollEvery)
		} else {
			pause.Reset(0)
		}
		select {
		case <-ctx.Done():
		case <-a.full:
		case <-a.records.Broken():
		case <-reopen:
			a.records.Reopen()
		case <-pause.C:
		}
	}
}

// over tells why it is time to stop; nothing if it isn't.
func (a *agent) over(ctx context.Context) string {
	switch {
	case ctx.Err() != nil:
		return "told to"
	case closed(a.full):
		return "enough records"
	case closed(a.records.Broken()):
		return "nobody reads the records any more"
	case a.services.gone():
		return "the last target has exited"
	}
	return ""
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// poll takes what has happened since the last time.
func (a *agent) poll() error {
	wait := idlePoll
	if a.options.sampleRate > 1 {
		wait = unsampledPoll
	}
	if len(a.services.young) > 0 {
		wait = firstVisit
	}
	if a.switched { // what began just before the kernel programs were told to wake the agent did not wake it
		wait, a.switched = 0, false
	}
	a.setClock()
	begun, err := a.probe.Poll(wait, a.handle)
	if err != nil {
		return err
	}
	now := time.Now()
	a.services.visits(now)
	if a.sampling() {
		a.services.findMoreLanes(now)
	}
	if err := a.lookAtUnixSockets(now); err != nil {
		return err
	}
	a.tracer.Quiet(func(w trace.Window) {
		if e := a.probe.EndRequest(w.Connection, w.Begun); e != nil {
			err = e
		}
	})
	if err != nil {
		return err
	}
	return a.switchSampling(begun)
}

// lookAtUnixSockets ends the connections on Unix sockets that are gone: often while an answer is under way that
// may end with its connection, else now and then.
func (a *agent) lookAtUnixSockets(now time.Time) error {
	pids, answering := a.tracer.UnixSockets()
	if !answering && now.Sub(a.unixLook) < unixEvery {
		return nil
	}
	a.unixLook = now
	for pid := range pids {
		there, err := target.UnixSockets(int(pid))
		if err != nil {
			continue // its end is told by an event
		}
		for _, gone := range a.tracer.Vanished(pid, there, probe.Now()) {
			if err := a.probe.Forget(gone); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *agent) sampling() bool { return !a.probe.Idle() }

// switchSampling has the clocks run while there is something to sample.
func (a *agent) switchSampling(begun bool) error {
	now := time.Now()
	if begun || a.tracer.Watching() {
		a.busy = now
	}
	on := now.Sub(a.busy) < sampleLinger
	switch {
	case on != a.sampling():
		a.since, a.switched = now, true
		return a.probe.SetSampling(on)
	case on && now.Sub(a.since) > sampleLinger:
		return a.probe.Align()
	}
	return nil
}

// stop ends the open requests, detaches and tells what was lost.
func (a *agent) stop(why string) error {
	a.setClock()
	if err := a.probe.Drain(a.handle); err != nil {
		return err
	}
	a.tracer.Stop(probe.Now())
	losses, err := a.probe.Losses()
	if err != nil {
		return err
	}
	a.closeLog()
	stats := a.records.Stats()
	a.log.Info().Str("why", why).Uint64("records", stats.Written).Uint64("dropped_queue_full", stats.Full).
		Uint64("dropped_write_failed", stats.Failed).Uint64("dropped_late", stats.Late).Any("lost_events", losses).Msg("stopped")
	return nil
}

func (a *agent) closeLog() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := a.records.Close(ctx); err != nil {
		a.log.Warn().Err(err).Msg("records are lost")
	}
}

// setClock notes how far the wall clock is from the events' clock.
func (a *agent) setClock() {
	var wall unix.Timespec
	unix.ClockGettime(unix.CLOCK_REALTIME, &wall)
	a.wallClock = uint64(wall.Nano()) - probe.Now()
}

// handle takes one event of the kernel programs.
func (a *agent) handle(e *probe.Event) {
	switch e.Kind {
	case probe.KindSwitchIn:
		a.tracer.SwitchIn(e.PID, e.TID, e.Time)
	case probe.KindWake:
		a.tracer.Wake(e.PID, e.TID, e.Time)
	case probe.KindOpen:
		c := e.Conn()
		local, remote := address(c.Family, c.Local, c.LocalPort), address(c.Family, c.Remote, c.RemotePort)
		a.tracer.Open(trace.Connection{ID: c.Connection, PID: e.PID, Local: local, Remote: remote, Inode: c.Inode}, e.Time)
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
	case probe.KindFork:
		a.services.forked(e.PID)
	case probe.KindExec:
		a.tracer.Exit(e.PID, e.Time)
		a.services.execed(e.PID)
	case probe.KindExit:
		a.tracer.Exit(e.PID, e.Time)
		a.services.exited(e.PID)
	default:
		a.stack(e)
	}
}

func (a *agent) stack(e *probe.Event) {
	s := a.services.of(e.PID)
	if s == nil {
		return
	}
	event := e.Stack()
	switch e.Kind {
	case probe.KindSample:
		a.tracer.Sample(e.PID, e.TID, e.Time, s.stackOf(e))
	case probe.KindSwitchOut:
		a.tracer.SwitchOut(e.PID, e.TID, e.Time, s.stackOf(e), s.wait(event))
	case probe.KindWrite:
		a.tracer.Write(e.PID, e.TID, e.Time, s.stackOf(e))
	case probe.KindTask:
		a.tracer.Task(e.PID, e.TID, e.Time, s.stackOf(e), event.Object)
	case probe.KindStep:
		a.tracer.Step(e.PID, e.TID, e.Time, s.step(e))
	case probe.KindGreenlet:
		a.tracer.Greenlet(e.PID, e.TID, e.Time, s.stackOf(e))
	case probe.KindThread:
		a.tracer.Thread(e.PID, e.TID, e.Time, s.stackOf(e), uint32(event.Args[0]))
	case probe.KindHandoff:
		a.tracer.Handoff(e.PID, e.TID, e.Time, s.stackOf(e), uint32(event.Args[0]))
	}
}

func (a *agent) transferOf(e *probe.Event) *trace.Transfer {
	io := e.IO()
	head, tail := e.Data()
	a.transfer = trace.Transfer{
		Connection: io.Connection,
		Begun:      io.Request,
		Begins:     io.Flags&probe.Begins != 0,
		Sampled:    io.Flags&probe.Sampled != 0,
		PID:        e.PID,
		TID:        e.TID,
		Time:       e.Time,
		Lost:       io.Lost,
		Missed:     io.Flags&probe.Missed != 0,
		Chunk:      http1.Chunk{Head: head, Tail: tail, Len: int(io.Length)},
	}
	return &a.transfer
}

func (a *agent) connectionClosed(e *probe.Event) {
	io := e.IO()
	switch {
	case io.Flags == probe.ByPeer: // a reset: the server has yet to find out
		a.tracer.HungUp(io.Connection)
	case io.Flags&probe.ByPeer != 0:
		a.tracer.Close(io.Connection, http1.PeerGone, e.Time)
	default:
		a.tracer.Close(io.Connection, http1.Closed, e.Time)
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
