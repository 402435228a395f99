package main

import (
	"fmt"
	"slices"
	"time"

	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

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

// findLanes has the kernel programs see the tasks and greenlets of a service, as soon as it has any.
func (ss *services) findLanes(s *service, now time.Time) {
	if s.golang != nil || s.asyncio && s.greenlet && s.queue && s.geventQueue && s.epoll || now.Sub(s.looked) < s.lanesEvery(now) {
		return
	}
	maps, err := s.process.Mappings()
	if err != nil {
		return // it has ended, which an event will tell
	}
	ss.findGo(s, maps)
	loaded := target.LaneModules(maps)
	asyncio, greenlet, queue := s.asyncio, s.greenlet, s.queue
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
	if !s.geventQueue && loaded.GeventQueue {
		s.geventQueue = true
		if s.greenJobs, err = ss.attachGeventQueue(s); err != nil {
			ss.warn(s, err, "what greenlets of a pool do is not told")
		}
	}
	if !s.epoll && (loaded.Select || first) {
		s.epoll = ss.attachEpoll(s)
	}
	if !s.deque && first && s.symbols.Waits(s.process.Python.Runtime, waitsOnQueue) {
		ss.attachDeque(s)
	}
	if s.asyncio != asyncio || s.greenlet != greenlet || s.queue != queue && s.executes {
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
	coroutine, known := s.symbols.Layout().TaskCoroOf(a.TaskSize)
	if !known {
		return true, fmt.Errorf("read tasks of process %d: where those of %d bytes keep their coroutine is not known of %s", s.process.PID, a.TaskSize, s.runtime)
	}
	return true, ss.probe.AttachAsyncio(s.process.PID, a.Path, a.TaskInit, a.TaskStep, a.TaskWakeup, coroutine)
}

func (ss *services) attachGreenlet(s *service) error {
	g, err := s.process.Greenlet()
	if err != nil || g == nil {
		return err
	}
	defer g.Close()
	return ss.probe.AttachGreenlet(s.process.PID, g.Path, g.Init, g.Switch, g.Old)
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

// attachGeventQueue tells whether there is one that executors have.
func (ss *services) attachGeventQueue(s *service) (bool, error) {
	q, err := s.process.GeventQueue()
	if err != nil || q == nil {
		return false, err
	}
	defer q.Close()
	return true, ss.probe.AttachGeventQueue(s.process.PID, q.Path, q.Put)
}

// neglectQueue has what a service puts into queues told no more if all of its threads serve requests, but for the first,
// which has them do so. It tells whether it was.
func (ss *services) neglectQueue(pid uint32, serves func(tid int) bool) bool {
	if ss.known[int(pid)] == nil {
		return false
	}
	threads, err := target.Threads(int(pid))
	works := func(tid int) bool { return tid != int(pid) && !serves(tid) }
	if err != nil || slices.ContainsFunc(threads, works) || !ss.probe.DetachQueue(int(pid)) {
		return false
	}
	ss.log.Debug().Uint32("pid", pid).Msg("queues are not looked at: requests do not use them")
	return true
}

// missQueue undoes neglectQueue, and tells whether the service goes on.
func (ss *services) missQueue(pid uint32) bool {
	s := ss.known[int(pid)]
	return s != nil && ss.attachQueue(s)
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
		ss.probe.DetachDeque(pid)
		ss.log.Warn().Int("pid", pid).Msg("what threads do that wait on a queue.Queue is not told: the service uses deques too often")
	}
}

// sawStack looks at the stack of a service that was named last.
func (ss *services) sawStack(s *service) {
	if !s.deque && (s.usesQueue() || s.greenPools()) && ss.known[s.process.PID] == s {
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

// sawTrio takes that tasks of trio run, of which nothing tells when they switch. It runs each in a Context of its own, which
// whoever starts one has copied. It tells whether their steps are seen from now on.
func (ss *services) sawTrio(pid uint32) bool {
	s := ss.known[int(pid)]
	if s == nil || s.golang != nil || s.trio {
		return false
	}
	s.trio = true
	t, err := s.process.Trio()
	if err == nil {
		if s.contexts { // the first is probed
			t.Copies = t.Copies[1:]
		}
		err = ss.probe.AttachTrio(s.process.PID, t.Path, t.Copies, t.Run)
		t.Close()
	}
	if err != nil {
		ss.warn(s, err, "where tasks of trio switch is not seen")
		return false
	}
	s.contexts = true
	return true
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
