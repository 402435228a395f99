package main

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"apm-ebpf/internal/emit"
	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

const (
	pollEvery     = 50 * time.Millisecond  // while requests are open: one wake-up for all of their events
	pollOften     = 20 * time.Millisecond  // while nothing else tells that one of Go is slow
	sampleLinger  = 100 * time.Millisecond // sampling stays on for so long after the last request
	idlePoll      = time.Second            // with sampling off the next request wakes the agent
	unsampledPoll = 200 * time.Millisecond // but one that is not sampled does not
	unixOpen      = 200 * time.Millisecond // between looks at Unix sockets while a request is open on one
	unixIdle      = 5 * time.Second
	catchUpEvery  = time.Second // between looks at processes whose end may have been missed
	sweepEvery    = time.Minute // between looks at what nothing else bounds, and at CPUs
	hinderedEvery = time.Minute // between warnings of what the agent could not do
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
	written  uint64

	// The record in the making, and the last address in it that was put into words.
	record    emit.Record
	profile   emit.Profile
	blocked   emit.Blocked
	local     netip.AddrPort
	localName string

	wallClock  uint64    // Unix time less CLOCK_MONOTONIC, ns
	begun      bool      // a sampled request began in the last poll
	busy       time.Time // when a sampled request was last open
	switched   bool      // sampling was, since the last poll
	tidied     time.Time // when what is due now and then was last done
	unixLook   time.Time // when Unix sockets were last looked at
	caughtUp   time.Time // when processes were last looked at
	swept      time.Time // when what nothing else bounds was last looked at
	newCPUs    int       // CPUs that have come online, which a warning has told
	lostOf     uint64    // events of processes that had been lost then
	hindered   uint64    // how often something could not be done
	toldOf     time.Time // when a warning last told of that
	full       chan struct{}
	goroutines goroutines
	urgency    urgency
	contention contention
	transfer   trace.Transfer
}

// run is the agent's life: it returns when it was told to stop, or has nothing left to do. Told to stop before it records
// anything, it does not return but ends the process, whatever it waits for.
func run(ctx context.Context, o *options, log zerolog.Logger, reopen <-chan os.Signal) error {
	stopExiting := context.AfterFunc(ctx, func() {
		log.Log().Str("why", toldTo).Int("records", 0).Msg("stopped")
		os.Exit(0)
	})
	hastenTraceIDs()
	a := &agent{options: o, log: log, full: make(chan struct{})}
	var err error
	a.records, err = emit.OpenLog(emit.LogOptions{Path: o.logFile, Report: func(err error) {
		log.Warn().Err(err).Msg("records are lost")
	}})
	if err != nil {
		return err
	}
	defer a.closeLog()
	warnOfMemory(log)
	if a.probe, err = probe.Open(probe.Config{Frequency: o.frequency, SampleEvery: uint32(o.sampleRate), BTF: o.btf, Log: log}); err != nil {
		return err
	}
	defer a.probe.Close()
	a.tracer = trace.New(uint32(o.sampleRate), a.finished)
	a.tracer.SamplePeriod = uint64(time.Second) / uint64(a.probe.Frequency())
	a.services = &services{probe: a.probe, options: o, log: log, known: map[int]*service{}, born: map[int]*service{}, young: map[int]*visit{}, goTold: map[string]bool{}}
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
	a.switched = true
	a.dropPrivileges()
	stopExiting()
	log.Log().Ints("pids", a.services.pids()).Int("frequency", a.probe.Frequency()).Msg("ready")
	a.probe.LoadLater()
	if o.duration > 0 { // attaching took its time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	return a.loop(ctx, reopen)
}

// hastenTraceIDs has those that the agent makes cost next to nothing: they need not be secret.
func hastenTraceIDs() {
	var seed [32]byte
	cryptorand.Read(seed[:])
	uuid.SetRand(rand.NewChaCha8(seed))
	uuid.EnableRandPool()
}

// loop polls until there is a reason to stop.
func (a *agent) loop(ctx context.Context, reopen <-chan os.Signal) error {
	coarsenTimers()
	a.urgency.bind()
	a.contention.bind()
	stopWaking := context.AfterFunc(ctx, a.probe.Wake)
	defer stopWaking()
	for {
		if why := a.over(ctx); why != "" {
			a.stop(why)
			return nil
		}
		if err := a.poll(); err != nil {
			a.stop("events cannot be read")
			return err
		}
		select {
		case <-reopen:
			a.records.Reopen()
		default:
		}
		a.rest()
	}
}

// rest lets some time pass between two polls.
func (a *agent) rest() {
	switch {
	case a.goroutines.reading:
		began := goroutine.ThreadTime()
		a.urgency.raise()
		probe.SleepUntil(a.goroutines.next)
		a.goroutines.wake = goroutine.Smooth(a.goroutines.wake, goroutine.ThreadTime()-began)
	case !a.sampling(): // then it is the poll that waits
	case a.services.anyGo():
		a.awaitSlow()
	default:
		probe.SleepUntil(probe.Now() + uint64(a.pause()))
	}
}

// awaitSlow pauses until a request is slow: then its goroutine is to be looked at before it goes on.
func (a *agent) awaitSlow() {
	a.urgency.raise()
	if a.probe.AwaitSlow(a.pause()) {
		a.goroutines.woken, a.goroutines.told = true, probe.NoSlow
	} else {
		a.urgency.lower()
	}
}

// pause tells how long to wait between polls while no goroutines are read.
func (a *agent) pause() time.Duration {
	now := probe.Now()
	most := pollEvery
	if a.goroutines.dense {
		most = pollOften
	}
	if rest := time.Duration(max(a.goroutines.until, now) - now); rest > 0 {
		return min(rest, most)
	}
	return most
}

const toldTo = "told to"

// over tells why it is time to stop; nothing if it isn't.
func (a *agent) over(ctx context.Context) string {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "the time is over"
	case ctx.Err() != nil:
		return toldTo
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

// poll takes what has happened since the last time. Its errors leave no more to record: all others are told by hinder.
func (a *agent) poll() error {
	a.setClock()
	a.begun = false
	if !a.sampling() {
		a.urgency.raise()
	}
	if err := a.probe.Poll(a.pollWait(), a.arrived, a.act, a.handle); err != nil {
		return err
	}
	a.records.Flush()
	now := time.Now()
	if !a.goroutines.reading || now.Sub(a.tidied) >= pollEvery {
		a.tidy(now)
	}
	return nil
}

// hinder takes that something could not be done, without which the agent goes on.
func (a *agent) hinder(err error) {
	if err == nil {
		return
	}
	a.hindered++
	if now := time.Now(); now.Sub(a.toldOf) >= hinderedEvery {
		a.toldOf = now
		a.log.Warn().Err(err).Msg("the agent is hindered: records may tell less")
	}
}

// act does what cannot wait until all that has arrived was handled.
func (a *agent) act() {
	defer a.calm()
	if a.begun && !a.sampling() {
		a.hinder(a.switchSampling())
	}
	a.hinder(a.readGoroutines())
}

// calm lowers the urgency, unless the next look is soon and there is little to do until then: on a busy machine the agent
// would have no CPU again for longer than that.
func (a *agent) calm() {
	const little = 100 // events
	if !a.goroutines.reading || a.probe.Holds() > little {
		a.urgency.lower()
	}
}

// tidy does what is due now and then.
func (a *agent) tidy(now time.Time) {
	a.urgency.lower()
	a.tidied = now
	a.contention.look(now)
	a.lookForSlow(now)
	a.catchUp(now)
	a.services.visits(now)
	a.services.watchDeques(now)
	if a.sampling() {
		a.services.findMoreLanes(now)
	}
	a.lookAtUnixSockets(now)
	a.tracer.UntoldCallbacks(func(pid uint32) {
		if a.services.sawCallbacks(pid) {
			a.tracer.SeesContexts(pid, probe.Now())
		}
	})
	a.tracer.UnseenSteps(func(pid uint32) {
		if a.services.sawTrio(pid) {
			a.tracer.SeesSteps(pid, probe.Now())
		}
	})
	a.tracer.IdleQueues(a.services.neglectQueue)
	a.tracer.MissedQueues(func(pid uint32) {
		if a.services.missQueue(pid) {
			a.tracer.SeesQueues(pid, probe.Now())
		}
	})
	a.tracer.Quiet(probe.Now(), func(w trace.Window) { a.hinder(a.probe.EndRequest(w.Connection, w.Begun)) })
	a.hinder(a.switchSampling())
}

// catchUp finds out what became of processes where the events that told it were lost, and drops what nothing else does.
func (a *agent) catchUp(now time.Time) {
	if now.Sub(a.caughtUp) < catchUpEvery {
		return
	}
	a.caughtUp = now
	for _, pid := range a.services.untold() {
		a.exited(uint32(pid), probe.Now())
		a.hinder(a.probe.Drop(pid))
	}
	if now.Sub(a.swept) >= sweepEvery {
		a.swept = now
		a.lookAtCPUs()
		a.hinder(a.probe.SweepListeners())
	}
	lost, err := a.probe.LostOfProcesses()
	a.hinder(err)
	if err != nil || lost == a.lostOf {
		return
	}
	a.lostOf = lost
	a.hinder(a.probe.Targets(func(pid int, execed, tls bool) {
		switch known := a.services.known[pid] != nil; {
		case known && execed:
			a.execed(uint32(pid), probe.Now())
		case known && tls:
			a.services.sawTLS(uint32(pid), false)
		case !known:
			a.services.later(pid, now)
		}
	}))
}

// lookAtCPUs warns, once for each, of CPUs on which nothing is sampled.
func (a *agent) lookAtCPUs() {
	cpus, err := a.probe.UnsampledCPUs()
	if err != nil || len(cpus) <= a.newCPUs {
		return
	}
	a.newCPUs = len(cpus)
	a.log.Warn().Ints("cpus", cpus).Msg("CPUs came online after the agent had started: what runs there is told by its waits alone. Start the agent again")
}

// pollWait tells how long a poll with sampling off may wait for a request.
func (a *agent) pollWait() time.Duration {
	switched := a.switched
	a.switched = false
	switch {
	case switched: // what began just before the kernel programs were told to wake the agent did not wake it
		return 0
	case a.probe.Holds() > 0:
		return firstVisit
	case len(a.services.young) > 0:
		return a.services.nextVisit(time.Now())
	case a.options.sampleRate > 1:
		return unsampledPoll
	}
	return idlePoll
}

// lookAtUnixSockets ends the connections on Unix sockets that are gone, which no event tells: soon while a request
// is open on any, else now and then.
func (a *agent) lookAtUnixSockets(now time.Time) {
	elapsed := now.Sub(a.unixLook)
	if elapsed < unixOpen { // before every connection is gone through
		return
	}
	pids, open := a.tracer.UnixSockets()
	if len(pids) > 0 && !open && elapsed < unixIdle {
		return
	}
	a.unixLook = now
	namespaces := map[uint32]map[uint64]bool{}
	for pid := range pids {
		namespace, err := probe.NetNamespace(int(pid))
		if err == nil && namespaces[namespace] == nil {
			namespaces[namespace], err = target.UnixSockets(int(pid))
		}
		if err != nil {
			continue // the process has ended, which an event tells
		}
		for _, gone := range a.tracer.Vanished(pid, namespaces[namespace], probe.Now()) {
			a.hinder(a.probe.Forget(gone.ID, gone.Inode))
		}
	}
}

func (a *agent) sampling() bool { return !a.probe.Idle() }

// switchSampling has the clocks run while there is something to sample.
func (a *agent) switchSampling() error {
	now := time.Now()
	if a.begun || a.tracer.Watching() {
		a.busy = now
	}
	on := now.Sub(a.busy) < sampleLinger
	if on == a.sampling() {
		return nil
	}
	a.switched = true
	err := a.probe.SetSampling(on)
	if on {
		a.tracer.SamplesSince(probe.Now())
	}
	return err
}

// stop ends the open requests, detaches and tells what was lost.
func (a *agent) stop(why string) {
	a.setClock()
	a.hinder(a.probe.Drain(a.handle))
	a.tracer.Stop(probe.Now())
	losses, err := a.probe.Losses()
	a.hinder(err)
	lost := struct {
		probe.Losses
		Reads    uint64 `json:"reads"`    // places from where on requests may have been missed
		Hindered uint64 `json:"hindered"` // how often the agent could not do something, of which a warning has told
	}{losses, a.tracer.LostReads(), a.hindered}
	a.closeLog()
	stats := a.records.Stats()

	a.log.Log().Str("why", why).Uint64("records", stats.Written).Uint64("dropped_queue_full", stats.Full).
		Uint64("dropped_write_failed", stats.Failed).Uint64("dropped_late", stats.Late).Any("lost_events", lost).Msg("stopped")
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
