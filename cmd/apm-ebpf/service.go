package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/filter"
	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

// service is one target process with what turns its addresses into names.
type service struct {
	process *target.Process
	pidfd   int  // readable once it has ended
	ended   bool // it was
	symbols *symbol.Python
	stack   trace.Stack
	filters []filter.Filter
	name    string
	runtime string // and its version
	program string // command line
	lines   bool
	golang  *goService // nil for Python

	functions map[uint64]*symbol.Func // by code object, as the kernel programs name it
	slots     map[uint32][2]uint64    // the last two code objects of each slot of theirs
	blindTo   uint64                  // up to when their ends are not seen (CLOCK_MONOTONIC, ns)
	namesLost uint64                  // of stacks of that time
	at        uint64                  // time of the event whose frames are being named

	asyncio, greenlet, queue, epoll bool      // no more to look for
	geventQueue                     bool      // the same
	uvloop                          bool      // the same, once an answer's owner could not be told
	contexts                        bool      // the same, once an event loop called what nobody is known to have given it, or trio's ran
	trio                            bool      // the same, once tasks of trio were seen to run
	deque                           bool      // the same, once a thread was seen to use a queue.Queue
	dequeUses                       uint64    // of its deques, when they were counted last; 0 where they are not probed
	dequeCount                      time.Time // when that was
	bitsets                         bool      // its threads were seen to wait for the interpreter lock by FUTEX_WAIT_BITSET
	blind                           bool      // it has tasks or greenlets that cannot be told apart
	looked                          time.Time // when they were last looked for
	lanesFrom                       uint64    // when they were found (CLOCK_MONOTONIC, ns)
	imports                         time.Time // when it was first seen to have run their modules before
	executes                        bool      // it was seen to run an executor before its queue was found
	pools, patched                  bool      // it was seen to run an executor, and gevent or eventlet
	greenJobs                       bool      // what is put into gevent's own queue is told

	openSSL   map[uint64]bool // inodes of the files whose copies are seen
	goLooked  map[uint64]bool // inodes of the files that were asked whether they are built with Go
	noGoTLS   error           // why HTTPS requests are missing, should it serve any
	toldBlind bool            // that HTTPS requests are missing
}

// newService looks at a process. before is what stood for it until now, or nil.
func newService(pid int, o *options, before *service) (*service, error) {
	process, err := target.Inspect(pid)
	if err != nil {
		return nil, err
	}
	s := &service{
		process: process, name: o.procName, runtime: process.RuntimeName(), lines: o.lines, program: strings.Join(process.Cmdline, " "),
	}
	if s.name == "" {
		s.name = process.Name()
	}
	env := filter.Env{Dir: process.Dir}
	if process.Go != nil {
		env.Dir = "" // sources lie where it was built
		s.golang, err = newGoService(process, o.lines)
	} else {
		s.openSSL, s.goLooked = map[uint64]bool{}, map[uint64]bool{}
		s.knowNoNames()
		env.Same = process.Paths.Same
		var parent *symbol.Python
		if before != nil {
			parent, s.goLooked = before.symbols, maps.Clone(before.goLooked)
		}
		s.symbols, err = symbol.NewPython(process, parent)
	}
	if err != nil {
		return nil, err
	}
	s.filters = filter.Bind(o.filters, env)
	return s, nil
}

func (s *service) close() {
	unix.Close(s.pidfd)
	if s.golang != nil {
		s.golang.symbols.Close()
	}
}

func (s *service) hasEnded() bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(s.pidfd), Events: unix.POLLIN}}, 0)
	return n > 0
}

// child gives a service that stands for a forked child until that is looked at itself, or for good if it is gone by then:
// it has its parent's name and memory.
func (s *service) child() *service {
	c := *s
	c.stack = trace.Stack{}
	c.knowNoNames()
	c.asyncio, c.greenlet, c.trio, c.imports, c.lanesFrom = false, false, false, time.Time{}, 0 // the uprobes are its parent's
	return &c
}

// knowNoNames takes that no code object has been told.
func (s *service) knowNoNames() {
	s.functions, s.slots = map[uint64]*symbol.Func{}, map[uint32][2]uint64{}
	s.blindTo, s.namesLost = math.MaxUint64, 0
}

// grows takes what is known of the same process from what stood for it until it was looked at.
func (s *service) grows(from *service) {
	s.namesLost, s.imports = from.namesLost, from.imports
	if s.symbols != nil && from.symbols != nil {
		s.functions, s.slots = from.functions, from.slots
	}
}

// stackOf names the frames of an event. The result is reused by the next call.
func (s *service) stackOf(e *probe.Event) *trace.Stack {
	event := e.Stack()
	s.at = e.Time
	s.stack = trace.Stack{Frames: s.stack.Frames[:0], Work: event.Work, Item: event.Item, Foreign: event.Status == probe.StackNoThread, InCall: event.Syscall >= 0}
	switch {
	case e.Kind != probe.KindSwitchOut:
	case event.Awaits == probe.AwaitsFuture:
		s.stack.Future = event.Object
	default:
		s.stack.Awaits = event.Object
	}
	leaf, root, missing := e.Frames()
	outermost := &leaf
	if len(root) > 0 {
		outermost = &root
	}
	if event.Status == probe.StackUnreadable && !s.addRest(outermost) {
		s.stack.Frames, s.stack.Broken = s.stack.Frames[:0], true
		return &s.stack
	}
	s.addFrames(root)
	if missing > 0 {
		s.stack.Frames = append(s.stack.Frames, trace.Frame{Func: trace.Truncated})
	}
	s.addFrames(leaf)
	if n := len(*outermost); n > 0 && s.stack.Root == 0 {
		s.stack.Root = (*outermost)[n-1].Address
	}
	return &s.stack
}

// addRest reads the rest of a stack whose last frame the kernel programs could not: an address that nobody has touched
// for long, as the frames that a forked child has from its parent where the CPU has no access flag. So it has not
// changed since. A coroutine's frame would have.
func (s *service) addRest(frames *[]probe.Frame) bool {
	n := len(*frames) - 1
	if n < 0 {
		return false
	}
	rest, err := s.symbols.Callers((*frames)[n].Address)
	if err != nil || len(rest) == 0 {
		return false
	}
	*frames = (*frames)[:n]
	for _, c := range slices.Backward(rest) {
		if c.Func.Coroutine {
			return false
		}
		if c.Func == symbol.Shim {
			continue
		}
		frame := trace.Frame{Func: c.Func}
		if s.lines {
			frame.Line = int32(s.symbols.LineOf(c.Func, c.Code, c.Instr))
		}
		s.stack.Frames = append(s.stack.Frames, frame)
	}
	s.stack.Root = rest[len(rest)-1].Address
	return true
}

// addFrames appends frames, which come leaf first, to the stack. Those in a row that nothing is known of are one.
func (s *service) addFrames(frames []probe.Frame) {
	var above *symbol.Func
	if n := len(s.stack.Frames); n > 0 {
		above = s.stack.Frames[n-1].Func
	}
	for i := len(frames) - 1; i >= 0; i-- {
		frame := s.frame(&frames[i])
		if frame.Func == symbol.Shim || frame.Func == symbol.Unknown && above == symbol.Unknown {
			continue
		}
		s.stack.Frames = append(s.stack.Frames, frame)
		above = frame.Func
	}
}

func (s *service) frame(f *probe.Frame) trace.Frame {
	frame := trace.Frame{Func: s.function(f.Code), Instr: probe.Instr(f)}
	if frame.Func.Coroutine && probe.Owner(f) == ownedByGenerator {
		frame.Task = f.Address
		if layout := s.symbols.Layout(); !layout.FrameIsObject {
			frame.Task -= uint64(layout.GenFrame) // the frame lies in the coroutine
		}
	}
	if s.lines {
		frame.Line = int32(s.symbols.LineOf(frame.Func, probe.Address(f.Code), probe.Instr(f)))
	}
	return frame
}

// function gives the function of a code object in a frame. Where what told of it was lost none is known.
func (s *service) function(code uint64) *symbol.Func {
	if fn := s.functions[code]; fn != nil {
		return fn
	}
	if s.at < s.blindTo {
		s.namesLost++
	}
	return symbol.Unknown
}

// waitsOnQueue tells the stack of a thread, innermost function first, that waits for a queue.Queue or wakes one that does.
// What AnyIO hands to its threads is known by its Context.
func waitsOnQueue(leaf, caller, outer *symbol.Func) bool {
	return leaf.InFile("/threading.py") && caller.InFile("/queue.py") && !outer.InPackage("anyio")
}

// usesQueue tells it of the stack that was named last.
func (s *service) usesQueue() bool {
	f := s.stack.Frames
	n := len(f)
	return n >= 3 && waitsOnQueue(f[n-1].Func, f[n-2].Func, f[n-3].Func)
}

// greenPools tells that it may have executors whose threads are greenlets and whose queues are Python's, without any C.
func (s *service) greenPools() bool { return s.pools && s.patched && s.greenlet && !s.greenJobs }

// step names what is told of the beginning of a task's step.
func (s *service) step(e *probe.Event) trace.Step {
	event := e.Stack()
	s.at = e.Time
	outer, inner, missing := e.Frames()
	s.stack.Frames = s.stack.Frames[:0]
	s.addLinks(outer)
	if missing > 0 {
		s.stack.Frames = append(s.stack.Frames, trace.Frame{Func: trace.Truncated})
	}
	s.addLinks(inner)
	return trace.Step{
		Coroutine: event.Object,
		Chain:     s.stack.Frames,
		Short:     event.Status == probe.StackEmpty,
		Work:      event.Work,
		Context:   event.Item,
		LastDone:  event.Args[0] != 0 && int8(event.Args[1]) > 0,
	}
}

// addLinks adds frames of a suspended chain, outermost first.
func (s *service) addLinks(links []probe.Frame) {
	for i := range links {
		frame := s.frame(&links[i])
		frame.Task = links[i].Address
		s.stack.Frames = append(s.stack.Frames, frame)
	}
}

// ownedByGenerator is FRAME_OWNED_BY_GENERATOR (CPython Include/internal/pycore_frame.h).
const ownedByGenerator = 1

// told takes what a code object says of itself. Another that shares its slot will be told again before it is seen next,
// so what a slot had before last can go; the last may be in the very stack that this one is told ahead of.
func (s *service) told(c *probe.CodeEvent) {
	if had := s.slots[c.Slot]; had[0] != c.Code {
		if had[1] != c.Code {
			delete(s.functions, had[1])
		}
		s.slots[c.Slot] = [2]uint64{c.Code, had[0]}
	}
	fn := s.symbols.Name(&symbol.Told{
		Addr:      probe.Address(c.Code),
		Flags:     c.Flags,
		FirstLine: c.FirstLine,
		Name:      toldText(&c.Name),
		File:      toldText(&c.File),
	})
	s.functions[c.Code] = fn
	if before := c.Event.Time < s.lanesFrom; s.imports.IsZero() &&
		((before || !s.greenlet) && ofGreenlets(fn) || (before || !s.asyncio) && fn.InPackage("asyncio")) {
		s.imports = time.Now()
	}
	executor := fn.InFile("/concurrent/futures/thread.py")
	s.pools = s.pools || executor
	s.patched = s.patched || fn.InPackage("gevent") || fn.InPackage("eventlet")
	const queues = 7 // the minor version from which on executors have a SimpleQueue
	if !s.queue && !s.executes && executor && s.process.Python.Minor >= queues {
		s.executes, s.imports = true, time.Now()
	}
}

// ofGreenlets tells functions that run where there are greenlets, be it that the module is only about to be imported.
func ofGreenlets(fn *symbol.Func) bool {
	return fn.InPackage("greenlet") || fn.InPackage("gevent") || fn.InPackage("eventlet") ||
		fn.InPackage("sqlalchemy") && fn.Name == "greenlet_spawn"
}

func toldText(t *probe.Text) symbol.Text {
	return symbol.Text{Addr: t.Address, Length: t.Length, State: t.State, Head: t.Data[:min(int(t.Size), len(t.Data))]}
}

// scope names what an application is told of its request.
func (s *service) scope(e *probe.ScopeEvent) *trace.Scope {
	path, known := s.symbols.Text(toldText(&e.Path))
	query, whole := s.symbols.Text(toldText(&e.Query))
	if !known || e.Query.Address != 0 && !whole {
		return nil
	}
	return &trace.Scope{Coroutine: e.Coroutine, Port: uint16(e.Port), Path: path, Query: query, HasQuery: e.Query.Address != 0}
}

// wait tells what a thread waits for when it leaves its CPU.
func (s *service) wait(e *probe.StackEvent) trace.Wait {
	py := s.process.Python
	return trace.Wait{
		State:   e.State,
		Syscall: int(e.Syscall),
		Args:    e.Args,
		Mode:    e.Mode,
		GIL:     e.Args[0] >= py.Runtime && e.Args[0] < py.RuntimeEnd,
	}
}

// isMutex tells that a thread waits for a lock of C code's, as malloc's or SQLite's. With glibc those wait by FUTEX_WAIT, and
// Python's locks and queues by FUTEX_WAIT_BITSET; with musl both by the former.
func (s *service) isMutex(w trace.Wait) bool {
	if w.Syscall != unix.SYS_FUTEX {
		return false
	}
	const wait, bitset, command = 0, 9, 0x7f // of linux/futex.h
	s.bitsets = s.bitsets || w.GIL && w.Args[1]&command == bitset
	return s.bitsets && w.Args[1]&command == wait
}

func pythonTypes(py *target.Python, t target.PythonTypes) probe.PythonTypes {
	return probe.PythonTypes{
		Code:           py.CodeType,
		Text:           py.StrType,
		Coroutine:      t.Coroutine,
		Generator:      t.Generator,
		AsyncGenerator: t.AsyncGenerator,
		Asend:          t.ASend,
		Athrow:         t.AThrow,
		Wrapper:        t.CoroWrapper,
		Anext:          t.AnextAwaitable,
		Context:        t.Context,
		Cell:           t.Cell,
		Dict:           t.Dict,
		Tuple:          t.Tuple,
		List:           t.List,
		Bytes:          t.Bytes,
		Integer:        t.Int,
	}
}

// pythonLayout picks from a version's layout what the kernel programs need.
func pythonLayout(l *symbol.Layout) (probe.PythonLayout, error) {
	k := probe.PythonLayout{
		InterpHead:  l.InterpHead,
		InterpNext:  l.InterpNext,
		InterpSize:  l.InterpSize,
		ThreadsHead: l.ThreadsHead,
		ThreadPrev:  l.ThreadNext - 8,
		ThreadNext:  l.ThreadNext,
		ThreadId:    l.ThreadID,
		ThreadFrame: l.ThreadFrame,
		Cframe:      l.CFrame,
		FramePrev:   l.FramePrev,
		FrameCode:   l.FrameCode,
		FrameInstr:  l.FrameInstr,
		FrameOwner:  l.FrameOwner,
		FrameGen:    l.FrameGen,

		CodeFlags:     l.CodeFlags,
		CodeFirstLine: l.CodeFirstLine,
		CodeName:      l.CodeQualname, // or the plain one, below
		CodeFile:      l.CodeFilename,
		StrLength:     l.StrLength,
		StrState:      l.StrState,
		StrKind:       l.StrKind,
		StrAscii:      l.StrASCII,
		StrCompact:    l.StrCompact,

		CodeLocals:      l.CodeNLocals,
		CodeCells:       l.CodeCells,
		CodeFree:        l.CodeFree,
		CodeInstrs:      l.CodeInstrs,
		ThreadContext:   l.ThreadContext,
		FrameLocals:     l.FrameLocals,
		FrameStackTop:   l.FrameStackTop,
		FrameStackDepth: l.FrameStackDepth,
		FrameValueStack: l.FrameValueStack,
		GenFrame:        l.GenFrame,
		GenState:        l.GenState,
		TaskCoro:        l.TaskCoro,
		TupleItems:      l.TupleItems,
		ObjectType:      l.ObjectType,
		AwaitToldBy:     probe.AwaitByState,
	}
	if l.CodeQualname == symbol.NoOffset {
		k.CodeName = l.CodeName
	}
	if l.Minor <= 9 {
		k.WakeupIsWrapper = 1
	}
	if l.Minor >= 12 {
		k.EagerTasks, k.NewestIsOwn = 1, 1
	}
	switch {
	case l.FrameIsObject:
		k.AwaitToldBy = probe.AwaitByOpcode
	case l.Minor < 13:
		k.AwaitToldBy = probe.AwaitByResume
	case l.Minor == 14:
		k.AwaitToldBy = probe.AwaitByPointer
	case l.Minor > 14:
		k.AwaitToldBy = probe.AwaitByPointerRenumbered
	}
	if err := frameSize(&k); err != nil {
		return k, err
	}
	return k, threadSize(&k)
}

// frameSize tells how much of a frame to read.
func frameSize(k *probe.PythonLayout) error {
	if k.FrameOwner == symbol.NoOffset {
		if k.FrameCode != k.FramePrev+8 {
			return fmt.Errorf("frame objects have f_back at %d and f_code at %d: they are read as neighbours", k.FramePrev, k.FrameCode)
		}
		return nil
	}
	k.FrameSize = (max(k.FramePrev+8, k.FrameCode+8, k.FrameInstr+8, k.FrameOwner+1) + 7) &^ 7
	if k.FrameSize > probe.FrameSizeMax {
		return fmt.Errorf("frames of %d bytes: at most %d can be read", k.FrameSize, probe.FrameSizeMax)
	}
	return nil
}

// threadSize tells which part of a thread state to read.
func threadSize(k *probe.PythonLayout) error {
	k.ThreadStart, k.ThreadSize = min(k.ThreadPrev, k.ThreadId, k.ThreadFrame), max(k.ThreadNext, k.ThreadId, k.ThreadFrame)+8
	if k.ThreadContext != symbol.NoOffset {
		k.ThreadStart, k.ThreadSize = min(k.ThreadStart, k.ThreadContext), max(k.ThreadSize, k.ThreadContext+8)
	}
	k.ThreadSize -= k.ThreadStart
	if k.ThreadSize > probe.ThreadSizeMax {
		return fmt.Errorf("thread states of which %d bytes are needed: at most %d can be read", k.ThreadSize, probe.ThreadSizeMax)
	}
	return nil
}
