package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

// services are the targets: those named on the command line and their descendants.
type services struct {
	probe   *probe.Probe
	options *options
	log     zerolog.Logger
	known   map[int]*service
	recent  *service         // the last of them that was asked for
	born    map[int]*service // children that were not looked at yet
	young   map[int]*visit   // processes that are still to be recognised, or may load OpenSSL yet
	goTold  map[string]bool  // libraries built with Go that were told of
	refused time.Time        // when it was last told that one is not profiled which could be
}

// visit is a process to be looked at, again and again until it has become something.
type visit struct {
	first, due time.Time
	wait       time.Duration
	worked     bool // it was looked at because it was at work
}

const (
	firstVisit   = 20 * time.Millisecond // a child that is about to call exec has done so, mostly
	youth        = 2 * time.Second       // while a server may start and get its first request, which must not be missed
	lastVisit    = 30 * time.Second      // a Python that takes longer to start is none
	rootPatience = 10 * time.Second      // for a process that was named, before anything is profiled
	tlsVisit     = 200 * time.Millisecond
	refusedEvery = time.Minute // between warnings: a service may start helpers without end
)

// addRoot makes a process and its descendants targets. Unlike a descendant, it must be one that can be, or have one.
func (ss *services) addRoot(pid int) error {
	if ss.known[pid] != nil { // as the descendant of another root
		return nil
	}
	err := ss.add(pid)
	if errors.Is(err, target.ErrNotReady) {
		err = ss.awaitRoot(pid, err)
	}
	if isUnsupported(err) {
		err = ss.addBelow(pid, err)
	}
	switch {
	case errors.Is(err, target.ErrGone):
		return fmt.Errorf("%w: give the id of a process that runs, as ps tells it on the host itself, not inside a container", err)
	case isUnsupported(err):
		return err // which says all of it
	case err != nil:
		return fmt.Errorf("process %d cannot be profiled: %w", pid, err)
	}
	if s := ss.known[pid]; s != nil {
		ss.expectTLS(s, time.Now())
	}
	return ss.addChildren(pid)
}

func isUnsupported(err error) bool { return errors.As(err, new(*target.Unsupported)) }

// awaitRoot waits until an interpreter has started, in the process or in a descendant: Apache's master has none, its
// workers have. The error is why it is not ready.
func (ss *services) awaitRoot(pid int, err error) error {
	for patience := time.Now().Add(rootPatience); errors.Is(err, target.ErrNotReady) && time.Now().Before(patience); {
		if found, err := ss.follow(pid); err != nil || found {
			return err
		}
		time.Sleep(firstVisit)
		err = ss.add(pid)
	}
	return err
}

// addBelow makes targets of the descendants of a process that cannot be one itself, as a shell, the init of a container or
// the loader of a bundled program. They may be starting. Where there are none the error is why the process is none.
func (ss *services) addBelow(pid int, why error) error {
	for patience := time.Now().Add(rootPatience); ; {
		if found, err := ss.follow(pid); err != nil || found {
			return err
		}
		if len(ss.young) == 0 || time.Now().After(patience) {
			return why
		}
		time.Sleep(firstVisit)
	}
}

// follow makes targets of the descendants, now and later, of a process that is none, and tells whether there are any new.
func (ss *services) follow(pid int) (found bool, err error) {
	if err := ss.probe.Follow(pid); err != nil {
		return false, err
	}
	others := len(ss.known)
	err = ss.addChildren(pid)
	return len(ss.known) > others, err
}

func (ss *services) add(pid int) error {
	before := ss.born[pid]
	s, err := newService(pid, ss.options, before)
	if err != nil {
		return err
	}
	attach := ss.addPython
	if s.golang != nil {
		attach = ss.addGo
	}
	if s.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		err = fmt.Errorf("watch process %d: %w", pid, err)
	} else {
		err = attach(s)
	}
	if err != nil {
		if s.hasEnded() {
			err = fmt.Errorf("%w: %w", target.ErrGone, err)
		}
		s.close()
		return err
	}
	if before != nil {
		s.grows(before)
	}
	ss.known[pid], ss.recent = s, nil
	delete(ss.born, pid)
	ss.findLanes(s, time.Now())
	ss.log.Info().Int("pid", pid).Str("runtime", s.runtime).Str("service", s.name).Msg("profiling process")
	return nil
}

func (ss *services) addPython(s *service) error {
	layout, err := pythonLayout(s.symbols.Layout())
	if err != nil {
		return err
	}
	pid, py := s.process.PID, s.process.Python
	types, err := s.process.PythonTypes()
	if err != nil {
		ss.warn(s, err, "where tasks wait cannot be told")
	}
	known := probe.Python{
		Runtime:     py.Runtime,
		RuntimeEnd:  py.RuntimeEnd,
		GIL:         s.process.LockOfMusl(),
		Layout:      layout,
		Types:       pythonTypes(py, types),
		SeesCodeEnd: ss.seeCodeEnd(s),
		Lines:       ss.options.lines,
	}
	if l := s.symbols.Layout(); l.CFrame != symbol.NoOffset {
		known.Unset, known.UnsetEnd = s.process.UnsetFrame(l.ThreadFrame, l.CFrame)
	}
	if err := ss.probe.AddPython(pid, known); err != nil {
		return err
	}
	if known.SeesCodeEnd {
		s.blindTo = probe.Now()
	}
	ss.findTLS(s)
	return nil
}

// findGo tells, once for each library, of Go in a service that is none of Go's.
func (ss *services) findGo(s *service, maps []target.Mapping) {
	for _, library := range s.process.GoLibraries(maps, s.goLooked) {
		if ss.goTold[library] {
			continue
		}
		ss.goTold[library] = true
		ss.log.Warn().Int("pid", s.process.PID).Str("library", library).
			Msg("what this library, which is built with Go, does is not told; requests that it serves say owner")
	}
}

// seeCodeEnd has the kernel programs see when the code objects of a service end. Without, they tell each whenever it is
// seen, since it may be another at the same address.
func (ss *services) seeCodeEnd(s *service) bool {
	end, err := s.process.CodeEnd()
	if err == nil {
		err = ss.probe.AttachCode(s.process.PID, end.Path, end.Dealloc)
		end.Close()
	}
	if err != nil {
		ss.warn(s, err, "profiling costs more: the end of code objects cannot be seen")
	}
	return err == nil
}

// warn tells what cannot be seen of a service, unless that is because it has ended.
func (ss *services) warn(s *service, err error, message string) {
	if !gone(err) {
		ss.log.Warn().Int("pid", s.process.PID).Err(err).Msg(message)
	}
}

// gone tells the errors of a process that has ended.
func gone(err error) bool { return errors.Is(err, target.ErrGone) || errors.Is(err, unix.ESRCH) }

// addChildren adds what descends from a process now; later children the kernel programs add themselves.
func (ss *services) addChildren(pid int) error {
	children, err := target.Children(pid)
	if err != nil && !errors.Is(err, target.ErrGone) {
		return fmt.Errorf("find the children of process %d: %w", pid, err)
	}
	for _, child := range children {
		if ss.known[child] == nil {
			if err := ss.probe.Follow(child); err != nil {
				return err
			}
			ss.look(child, time.Now())
		}
		if err := ss.addChildren(child); err != nil {
			return err
		}
	}
	return nil
}

// look adds a process if it can be profiled. It tells what became of it.
func (ss *services) look(pid int, now time.Time) *service {
	err := ss.add(pid)
	switch {
	case err == nil:
		delete(ss.young, pid)
		ss.expectTLS(ss.known[pid], now)
		return ss.known[pid]
	case errors.Is(err, target.ErrNotReady):
		ss.later(pid, now)
	default:
		delete(ss.young, pid)
		level := zerolog.DebugLevel
		if !isUnsupported(err) && !gone(err) && now.Sub(ss.refused) >= refusedEvery {
			level, ss.refused = zerolog.WarnLevel, now
		}
		ss.log.WithLevel(level).Int("pid", pid).Err(err).Msg("process is not profiled")
	}
	return nil
}

// later notes that a process is to be looked at soon, and less and less often when it is not young any more.
func (ss *services) later(pid int, now time.Time) {
	v := ss.young[pid]
	if v == nil {
		v = &visit{first: now, wait: firstVisit}
		ss.young[pid] = v
	}
	if now.Sub(v.first) > youth {
		v.wait = min(2*v.wait, time.Second)
	}
	v.due = now.Add(v.wait)
	if v.due.Sub(v.first) > lastVisit {
		delete(ss.young, pid)
	}
}

// visits looks at the processes that are due.
func (ss *services) visits(now time.Time) {
	for pid, v := range ss.young {
		switch s := ss.known[pid]; {
		case v.due.After(now):
		case s != nil:
			ss.findTLS(s)
			ss.expectTLS(s, now)
		default:
			ss.look(pid, now)
		}
	}
}

// nextVisit tells how long it is until a process is due.
func (ss *services) nextVisit(now time.Time) time.Duration {
	next := idlePoll
	for _, v := range ss.young {
		next = min(next, max(v.due.Sub(now), 0))
	}
	return next
}

// findLanes has the kernel programs see the tasks and greenlets of a service, as soon as it has any.
func (ss *services) findLanes(s *service, now time.Time) {
	if s.golang != nil || s.asyncio && s.greenlet && s.queue && s.epoll || now.Sub(s.looked) < s.lanesEvery(now) {
		return
	}
	maps, err := s.process.Mappings()
	if err != nil {
		return // it has ended, which an event will tell
	}
	ss.findGo(s, maps)
	loaded := target.LaneModules(maps)
	asyncio, greenlet := s.asyncio, s.greenlet
	first := s.looked.IsZero() // what is built into the interpreter is there
	if !s.asyncio && (loaded.Asyncio || first) {
		builtIn, err := ss.attachAsyncio(s)
		s.asyncio = ss.lanesFound(s, "asyncio's tasks", loaded.Asyncio || builtIn, err)
	}
	if !s.greenlet && loaded.Greenlet {
		s.greenlet = ss.lanesFound(s, "greenlets", loaded.Greenlet, ss.attachGreenlet(s))
	}
	if !s.queue && (loaded.Queue || first) {
		s.queue = ss.attachQueue(s)
	}
	if !s.epoll && (loaded.Select || first) {
		s.epoll = ss.attachEpoll(s)
	}
	if !s.deque && first && s.symbols.Waits(s.process.Python.Runtime, waitsOnQueue) {
		ss.attachDeque(s)
	}
	if s.asyncio != asyncio || s.greenlet != greenlet {
		s.lanesFrom = probe.Now()
	}
	s.looked = now
}

// attachAsyncio tells whether it is there.
func (ss *services) attachAsyncio(s *service) (bool, error) {
	a, err := s.process.Asyncio()
	if err != nil || a == nil {
		return false, err
	}
	defer a.Close()
	return true, ss.probe.AttachAsyncio(s.process.PID, a.Path, a.TaskInit, a.TaskStep, a.TaskWakeup)
}

func (ss *services) attachGreenlet(s *service) error {
	g, err := s.process.Greenlet()
	if err != nil || g == nil {
		return err
	}
	defer g.Close()
	return ss.probe.AttachGreenlet(s.process.PID, g.Path, g.Init, g.Switch)
}

// attachQueue tells whether there is no more to look for.
func (ss *services) attachQueue(s *service) bool {
	q, err := s.process.Queue()
	if q == nil && err == nil {
		return false
	}
	if err == nil {
		err = ss.probe.AttachQueue(s.process.PID, q.Path, q.Put, q.Get)
		q.Close()
	}
	if err != nil {
		ss.warn(s, err, "what threads of a pool do may be told for no request")
	}
	return true
}

// attachDeque has the kernel programs see what threads take from queue.Queue. It is attached where a thread was seen to
// use one, since event loops have deques too, whose every use costs a trap then.
func (ss *services) attachDeque(s *service) {
	s.deque = true
	d, err := s.process.Deque()
	if err == nil {
		err = ss.probe.AttachDeque(s.process.PID, d.Path, d.Append, d.PopLeft)
		d.Close()
	}
	if err != nil {
		ss.warn(s, err, "what threads of a pool do may be told for no request")
		return
	}
	s.dequeCount, s.dequeUses = time.Now(), max(ss.probe.DequeUses(s.process.PID), 1)
}

const (
	dequesEvery = time.Second
	dequesMax   = 20_000 // uses in that time, each of which costs a microsecond
)

// watchDeques detaches where a service uses deques for other things so much that it would feel it.
func (ss *services) watchDeques(now time.Time) {
	for pid, s := range ss.known {
		if s.dequeUses == 0 {
			continue
		}
		uses := ss.probe.DequeUses(pid)
		if uses < s.dequeUses+dequesMax {
			if now.Sub(s.dequeCount) >= dequesEvery {
				s.dequeCount, s.dequeUses = now, max(uses, 1)
			}
			continue
		}
		s.dequeUses = 0
		err := ss.probe.DetachDeque(pid)
		ss.log.Warn().Int("pid", pid).Err(err).Msg("what threads do that wait on a queue.Queue is not told: the service uses deques too often")
	}
}

// sawStack looks at the stack of a service that was named last.
func (ss *services) sawStack(s *service) {
	if !s.deque && s.usesQueue() && ss.known[s.process.PID] == s {
		ss.attachDeque(s)
	}
}

// attachEpoll does the same as attachQueue.
func (ss *services) attachEpoll(s *service) bool {
	e, err := s.process.Epoll()
	if e == nil && err == nil {
		return false
	}
	if err == nil {
		err = ss.probe.AttachEpoll(s.process.PID, e.Path, e.Modify)
		e.Close()
	}
	if err != nil {
		ss.warn(s, err, "answers that an event loop writes for others have no owner")
	}
	return true
}

// sawUndecided takes that nothing told who had an answer. uvloop up to 0.22 writes answers between the steps of tasks:
// where that is so the kernel programs see who has them. Servers with a task for each request are told without, so that
// they need not pay a trap for every write.
func (ss *services) sawUndecided(s *service) {
	if s.golang != nil || s.uvloop || ss.known[s.process.PID] != s {
		return
	}
	s.uvloop = true
	if maps, err := s.process.Mappings(); err != nil || !target.LaneModules(maps).UVLoop {
		return
	}
	u, err := s.process.UVLoop()
	if err == nil && u != nil {
		err = ss.probe.AttachStream(s.process.PID, u.Path, u.Writes)
		u.Close()
	}
	if err != nil {
		ss.warn(s, err, "answers that uvloop writes for others have no owner")
	}
}

// sawCallbacks takes that an event loop calls what may be a request's. Whose a callback is its Context tells, which whoever
// gave it to the loop has copied. Most services have no such callbacks, and need not pay a trap for every copy. It tells
// whether copies are seen from now on.
func (ss *services) sawCallbacks(pid uint32) bool {
	s := ss.known[int(pid)]
	if s == nil || s.golang != nil || s.contexts {
		return false
	}
	s.contexts = true
	c, err := s.process.Contexts()
	if err == nil {
		err = ss.probe.AttachContexts(s.process.PID, c.Path, c.Copies)
		c.Close()
	}
	if err != nil {
		ss.warn(s, err, "what an event loop's callbacks do has no owner")
	}
	return err == nil
}

// How often a service at work is looked at for modules that it imported meanwhile, and how often while it imports them.
const (
	lanesEvery  = 2 * time.Second
	lanesAtOnce = 20 * time.Millisecond
	importing   = 2 * time.Second
)

// misses tells of a request that lanes have gone unseen during it, or may have.
func (s *service) misses(r *trace.Request) bool {
	return s.blind || !s.imports.IsZero() && r.Start < s.lanesFrom || s.lanesFrom == 0 && time.Since(s.imports) < importing
}

func (s *service) lanesEvery(now time.Time) time.Duration {
	if now.Sub(s.imports) < importing {
		return lanesAtOnce
	}
	return lanesEvery
}

// lanesFound tells whether there is no more to look for; an error is told once.
func (ss *services) lanesFound(s *service, lanes string, found bool, err error) bool {
	if err != nil && !gone(err) {
		s.blind = true
		ss.warn(s, err, "requests that run beside each other in "+lanes+" cannot be told apart")
	}
	return found || err != nil
}

// findMoreLanes looks for the modules that services have imported meanwhile.
func (ss *services) findMoreLanes(now time.Time) {
	for _, s := range ss.known {
		ss.findLanes(s, now)
	}
}

// find gives the service of a known process, else nil.
func (ss *services) find(pid uint32) *service {
	if ss.recent == nil || ss.recent.process.PID != int(pid) {
		ss.recent = ss.known[int(pid)]
	}
	return ss.recent
}

// seen gives the service of a process, be it one that stands for it until it is looked at.
func (ss *services) seen(pid uint32) *service {
	if s := ss.find(pid); s != nil {
		return s
	}
	return ss.born[int(pid)]
}

// goService gives what a process has if it is a known one of Go, else nil.
func (ss *services) goService(pid uint32) *goService {
	if s := ss.find(pid); s != nil {
		return s.golang
	}
	return nil
}

// anyGo tells that a known process is one of Go.
func (ss *services) anyGo() bool {
	for _, s := range ss.known {
		if s.golang != nil {
			return true
		}
	}
	return false
}

// of gives the service of a process, recognising it at once if it is at work before its first visit.
func (ss *services) of(pid uint32) *service {
	if s := ss.find(pid); s != nil {
		return s
	}
	if v := ss.young[int(pid)]; v != nil && !v.worked {
		v.worked = true
		if s := ss.look(int(pid), time.Now()); s != nil {
			return s
		}
	}
	return ss.born[int(pid)]
}

func (ss *services) forked(pid, parent uint32) {
	s := ss.known[int(parent)]
	if s == nil {
		s = ss.born[int(parent)]
	}
	if s != nil {
		ss.born[int(pid)] = s.child()
	}
	ss.later(int(pid), time.Now())
}

// forget drops a process that has ended or runs another program now.
func (ss *services) forget(pid int) {
	if s := ss.known[pid]; s != nil {
		ss.log.Debug().Int("pid", pid).Msg("process or its program ended")
		s.close()
	}
	delete(ss.known, pid)
	ss.recent = nil
	delete(ss.born, pid)
	delete(ss.young, pid)
	ss.probe.Release(pid)
}

// untold gives the processes that had ended at the last call already, and whose end no event has told since.
func (ss *services) untold() (pids []int) {
	for pid, s := range ss.known {
		if s.ended {
			pids = append(pids, pid)
		}
		s.ended = s.hasEnded()
	}
	return pids
}

// gone tells that no target is left, nor anything that may become one.
func (ss *services) gone() bool { return len(ss.known) == 0 && len(ss.young) == 0 }

// pids are the known targets, in order.
func (ss *services) pids() (pids []int) {
	for pid := range ss.known {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}
