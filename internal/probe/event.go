package probe

import (
	"slices"
	"unsafe"
)

// Kind tells what an Event is and which of its views holds.
type Kind uint32

// Kinds, from bpf/event.h.
const (
	KindSample    = Kind(apmEventKindEVENT_SAMPLE)     // Stack: on a CPU
	KindSwitchOut = Kind(apmEventKindEVENT_SWITCH_OUT) // Stack: leaves its CPU
	KindSwitchIn  = Kind(apmEventKindEVENT_SWITCH_IN)  // has a CPU again
	KindWake      = Kind(apmEventKindEVENT_WAKE)       // Thread: may run again; the peer is the waker
	KindWrite     = Kind(apmEventKindEVENT_WRITE)      // Stack: makes the first write of an answer
	KindOpen      = Kind(apmEventKindEVENT_OPEN)       // Conn: a connection is seen for the first time
	KindRecv      = Kind(apmEventKindEVENT_RECV)       // IO
	KindSend      = Kind(apmEventKindEVENT_SEND)       // IO
	KindClose     = Kind(apmEventKindEVENT_CLOSE)      // Conn, without addresses
	KindFork      = Kind(apmEventKindEVENT_FORK)       // Thread: PID is the child, the peer its parent
	KindExec      = Kind(apmEventKindEVENT_EXEC)
	KindExit      = Kind(apmEventKindEVENT_EXIT)     // the last thread of a process is gone
	KindTask      = Kind(apmEventKindEVENT_TASK)     // Stack: creates an asyncio task
	KindStep      = Kind(apmEventKindEVENT_STEP)     // Stack: begins a task's step; its frames are the suspended chain, outermost first
	KindEnded     = Kind(apmEventKindEVENT_ENDED)    // Stack, without frames: the task around the coroutine Object has ended
	KindJob       = Kind(apmEventKindEVENT_JOB)      // Stack: puts the Object into a queue
	KindTake      = Kind(apmEventKindEVENT_TAKE)     // Stack: takes the Object from a queue
	KindArm       = Kind(apmEventKindEVENT_ARM)      // Stack: asks to be told when the connection Object can be written to
	KindSpawn     = Kind(apmEventKindEVENT_SPAWN)    // Stack: creates the greenlet Object
	KindGreenlet  = Kind(apmEventKindEVENT_GREENLET) // Stack: a greenlet leaves the thread
	KindThread    = Kind(apmEventKindEVENT_THREAD)   // Stack: starts the thread in Args[0]
	KindHandoff   = Kind(apmEventKindEVENT_HANDOFF)  // Stack: wakes the thread in Args[0], which waited on a futex
	KindCode      = Kind(apmEventKindEVENT_CODE)     // Code: what a code object of a later stack says of itself
	KindTLS       = Kind(apmEventKindEVENT_TLS)      // Thread: TLS on a connection that is served; the peer may be TLSUnseen

	KindGoSample    = Kind(apmEventKindEVENT_GO_SAMPLE)     // Go: a goroutine is on a CPU
	KindGoSwitchOut = Kind(apmEventKindEVENT_GO_SWITCH_OUT) // Go: a goroutine that serves requests leaves its CPU with its thread
	KindServe       = Kind(apmEventKindEVENT_SERVE)         // Serve: a goroutine begins to serve a stream of an HTTP/2 connection
	KindServed      = Kind(apmEventKindEVENT_SERVED)        // Serve: it has done so; only the goroutine is told

	KindScope = Kind(apmEventKindEVENT_SCOPE) // Scope: for which request the stack of that time, or a coroutine, was called
	KindCopy  = Kind(apmEventKindEVENT_COPY)  // Stack: has copied its contextvars.Context; the Object is the copy
)

// TLSUnseen is the peer of a TLS event where much was read, and nothing of it was seen in clear; else the process had not
// been seen to serve TLS before. From bpf/event.h.
const TLSUnseen = uint32(apmTlsSightTLS_UNSEEN)

// AwaitsFuture tells that the Object of a KindSwitchOut is a concurrent.futures.Future, from bpf/event.h.
const AwaitsFuture = uint32(apmAwaitedAWAITS_FUTURE)

// Flags of an IO or Conn event, from bpf/event.h.
const (
	Begins   = uint32(apmIoFlagIO_BEGINS)    // Recv: the first read of what may be a request
	Sampled  = uint32(apmIoFlagIO_SAMPLED)   // stacks are taken for it
	ByPeer   = uint32(apmIoFlagIO_PEER)      // Close: the peer hung up
	WriteEnd = uint32(apmIoFlagIO_WRITE_END) // Close: we closed or shut down our direction
	Missed   = uint32(apmIoFlagIO_MISSED)    // an event of this connection was lost before
	Framed   = uint32(apmIoFlagIO_FRAMED)    // the connection speaks HTTP/2
	Short    = uint32(apmIoFlagIO_SHORT)     // Send, of Go: the socket took less than it was given, so more will follow
	Chunk    = uint32(apmIoFlagIO_CHUNK)     // Send, of Go: the end is like that of a chunk which is not the last
)

// Status of a stack, from bpf/event.h.
const (
	StackNoThread   = uint32(apmStackStatusSTACK_NO_THREAD) // no interpreter state: not a Python thread
	StackEmpty      = uint32(apmStackStatusSTACK_EMPTY)     // it runs no Python code
	StackUnreadable = uint32(apmStackStatusSTACK_UNREADABLE)
)

// Sizes of the part of a stack that is kept, in frames, and of that in which its root is looked for, from bpf/event.h.
const (
	framesLeaf = int(apmStackSizeFRAMES_LEAF)
	framesRoot = int(apmStackSizeFRAMES_ROOT)
	pcsWalk    = int(apmStackSizePCS_WALK)
)

// Frame is one frame of a stack: addresses in the target.
type Frame = apmFrame

// Owner is the kind of frame, as _PyInterpreterFrame.owner has it.
func Owner(f *Frame) uint8 { return uint8(f.Instr >> 56) }

// Instr is the instruction of a frame without its owner.
func Instr(f *Frame) uint64 { return f.Instr & (1<<56 - 1) }

// Address is that of a code object in a Frame's or CodeEvent's Code, whose other bits tell it from those
// that had the address before.
func Address(code uint64) uint64 { return code & (1<<48 - 1) }

// StackEvent, GoEvent, ServeEvent, ThreadEvent, CodeEvent, ScopeEvent, ConnEvent and IOEvent are what the kernel programs write.
type (
	StackEvent  = apmStackEvent
	GoEvent     = apmGoEvent
	ServeEvent  = apmServeEvent
	ThreadEvent = apmThreadEvent
	CodeEvent   = apmCodeEvent
	ScopeEvent  = apmScopeEvent
	Text        = apmText // a str object
	ConnEvent   = apmConnEvent
	IOEvent     = apmIoEvent
)

// Event is one event of the kernel programs. Its views alias a buffer that lives until the handler
// returns.
type Event struct {
	Time     uint64 // CLOCK_MONOTONIC, ns
	Kind     Kind
	PID, TID uint32 // in the initial PID namespace
	raw      []byte // has room for the largest event behind it
}

const eventMax = int(unsafe.Sizeof(IOEvent{}))

// Decode tells the event that raw holds, which has room for the largest one behind it.
func Decode(raw []byte) (e Event, ok bool) {
	if len(raw) < int(unsafe.Sizeof(apmEvent{})) {
		return e, false
	}
	h := (*apmEvent)(unsafe.Pointer(&raw[0]))
	e = Event{Time: h.Time, Kind: Kind(h.Kind), PID: h.Pid, TID: h.Tid, raw: raw}
	return e, len(raw) >= e.minSize()
}

func (e *Event) minSize() int {
	switch e.Kind {
	case KindSample, KindSwitchOut, KindWrite, KindTask, KindStep, KindEnded, KindJob, KindTake, KindArm, KindSpawn, KindGreenlet, KindThread, KindHandoff, KindCopy:
		return int(unsafe.Offsetof(StackEvent{}.Frames))
	case KindGoSample, KindGoSwitchOut:
		return int(unsafe.Offsetof(GoEvent{}.Pcs))
	case KindServe, KindServed:
		return int(unsafe.Sizeof(ServeEvent{}))
	case KindCode:
		return int(unsafe.Sizeof(CodeEvent{}))
	case KindScope:
		return int(unsafe.Sizeof(ScopeEvent{}))
	case KindOpen, KindClose:
		return int(unsafe.Sizeof(ConnEvent{}))
	case KindRecv, KindSend:
		return int(unsafe.Offsetof(IOEvent{}.Data))
	}
	return int(unsafe.Sizeof(ThreadEvent{}))
}

// Begins tells that a sampled request begins with the event.
func (e *Event) Begins() bool {
	const both = Begins | Sampled
	return e.Kind == KindRecv && e.IO().Flags&both == both
}

// Stack is the view of the kinds that say so.
func (e *Event) Stack() *StackEvent { return (*StackEvent)(unsafe.Pointer(&e.raw[0])) }

// Go is the view of a GoSample or GoSwitchOut.
func (e *Event) Go() *GoEvent { return (*GoEvent)(unsafe.Pointer(&e.raw[0])) }

// Serve is the view of a Serve or Served.
func (e *Event) Serve() *ServeEvent { return (*ServeEvent)(unsafe.Pointer(&e.raw[0])) }

// PCs are the program counters of a GoSample or GoSwitchOut, leaf first, how many come before a gap, 0 where there is none,
// and whether the outermost ones are missing.
func (e *Event) PCs() (pcs []uint64, gap int, truncated bool) {
	g := e.Go()
	kept := (len(e.raw) - int(unsafe.Offsetof(g.Pcs))) / int(unsafe.Sizeof(g.Pcs[0]))
	depth := int(g.Depth)
	pcs = g.Pcs[:min(depth, kept, len(g.Pcs))]
	switch {
	case depth <= framesLeaf+framesRoot || len(pcs) <= framesLeaf:
		return pcs, 0, false
	case depth > pcsWalk:
		return pcs[:framesLeaf], 0, true
	}
	rotate(pcs[framesLeaf:], (depth-framesLeaf)%(len(pcs)-framesLeaf))
	return pcs, framesLeaf, false
}

// Thread is the view of the events about threads and processes.
func (e *Event) Thread() *ThreadEvent { return (*ThreadEvent)(unsafe.Pointer(&e.raw[0])) }

// Code is the view of a Code. It comes ahead of the stacks that the code object is in.
func (e *Event) Code() *CodeEvent { return (*CodeEvent)(unsafe.Pointer(&e.raw[0])) }

// Scope is the view of a Scope. It comes ahead of the stack that has its time.
func (e *Event) Scope() *ScopeEvent { return (*ScopeEvent)(unsafe.Pointer(&e.raw[0])) }

// Conn is the view of an Open or Close.
func (e *Event) Conn() *ConnEvent { return (*ConnEvent)(unsafe.Pointer(&e.raw[0])) }

// IO is the view of a Recv or Send.
func (e *Event) IO() *IOEvent { return (*IOEvent)(unsafe.Pointer(&e.raw[0])) }

// Data is what was kept of the bytes of a Recv or Send: their beginning and their end.
func (e *Event) Data() (head, tail []byte) {
	io := e.IO()
	kept := e.raw[unsafe.Offsetof(io.Data):]
	head = kept[:min(int(io.Head), len(kept))]
	tail = kept[len(head):min(len(head)+int(io.Tail), len(kept))]
	return head, tail
}

// Frames is the stack in two runs, leaf first: the frames next to the leaf, and, where the middle is
// missing, those next to the root. missing is how many lie between.
func (e *Event) Frames() (leaf, root []Frame, missing int) {
	s := e.Stack()
	kept := (len(e.raw) - int(unsafe.Offsetof(s.Frames))) / int(unsafe.Sizeof(Frame{}))
	depth := int(s.Depth)
	if depth <= framesLeaf || kept <= framesLeaf {
		return s.Frames[:min(depth, kept)], nil, 0
	}
	rest := s.Frames[framesLeaf:min(kept, framesLeaf+framesRoot)]
	if over := depth - framesLeaf; over > len(rest) {
		missing = over - len(rest)
		rotate(rest, over%len(rest))
	}
	return s.Frames[:framesLeaf], rest, missing
}

// rotate makes the entry at first the first: the kernel fills the run as a ring.
func rotate[T any](run []T, first int) {
	slices.Reverse(run[:first])
	slices.Reverse(run[first:])
	slices.Reverse(run)
}
