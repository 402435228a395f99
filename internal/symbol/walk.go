package symbol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/target"
)

// Bounds of the lists of a process: what is longer is taken for a cycle.
const (
	maxInterpreters = 64
	maxThreads      = 1 << 14
	maxFrames       = 1 << 16
)

// frameOwnedByCStack, or more, marks the frames without code that stand for a call from C, in 3.12 and later.
const frameOwnedByCStack = 3

// tagBits are set in references from frames, 3.14 and later (CPython Include/internal/pycore_stackref.h).
const tagBits = 7

// checkTries is how often the self-check looks at a running program before it gives up: what it reads may be torn.
const checkTries = 50

var errNoStack = errors.New("no thread has a stack of Python functions where CPython keeps it: the build differs from the layout")

// check walks live threads until one stack is right from its top to its end. Where idle is allowed, a process none of
// whose threads runs Python at the moment passes when its lists of threads are right; elsewhere it is not ready.
func (p *Python) check(runtime uint64, mayIdle bool) error {
	if p.codeType == 0 {
		return errors.New("the interpreter does not export PyCode_Type and PyUnicode_Type")
	}
	err := errNoStack
	for range checkTries {
		if err = p.look(runtime, mayIdle); err == nil || err == errIdle && mayIdle || errors.Is(err, target.ErrGone) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	switch {
	case err == nil, err == errIdle && mayIdle:
		return nil
	case err == errIdle:
		return fmt.Errorf("check layout (%s): %w: it runs no Python function", p.layout.Source, target.ErrNotReady)
	}
	return fmt.Errorf("check layout (%s): %w", p.layout.Source, err)
}

// errIdle: the lists of threads are right and no thread runs Python.
var errIdle = errors.New("no thread runs a Python function")

// look walks the stacks of the process once. leftovers: it may have states of threads that its parent had and it has not,
// whose stacks are anything by now, beside those of its own.
func (p *Python) look(runtime uint64, leftovers bool) error {
	threads, err := p.threads(runtime)
	if err != nil {
		return err
	}
	idle := 0
	for _, t := range threads {
		if t.frame == 0 {
			idle++
		} else if p.plausible(t) {
			return nil
		}
	}
	if idle > 0 && (leftovers || idle == len(threads)) {
		return errIdle
	}
	return errNoStack
}

// Caller is one frame below another on a stack.
type Caller struct {
	Func    *Func
	Address uint64 // of the frame
	Code    uint64 // address of the code object
	Instr   uint64 // as in Layout.FrameInstr
}

// Callers gives the stack from the frame at an address on to the outermost one. It must be a frame that stays where it
// is, as those do that nobody touches. Errors: that it is not a stack, or cannot be read, or has a function that cannot.
func (p *Python) Callers(at uint64) ([]Caller, error) {
	frames, err := p.stack(at)
	if err != nil {
		return nil, err
	}
	callers := make([]Caller, len(frames))
	for i, f := range frames {
		callers[i] = Caller{p.Func(f.code), f.address, f.code, f.instr}
		if callers[i].Func == Unknown {
			return nil, errNoStack
		}
	}
	return callers, nil
}

// Waits tells whether a thread of the process, whose _PyRuntime lies at runtime, stands where three functions, innermost
// first, are as asked for. Threads run meanwhile, so that one which does not wait may be missed.
func (p *Python) Waits(runtime uint64, asked func(leaf, caller, outer *Func) bool) bool {
	threads, err := p.threads(runtime)
	if err != nil {
		return false
	}
	for _, t := range threads {
		stack, err := p.stack(t.frame)
		if err == nil && len(stack) >= 3 && asked(p.Func(stack[0].code), p.Func(stack[1].code), p.Func(stack[2].code)) {
			return true
		}
	}
	return false
}

// plausible tells whether the whole stack of a thread can be walked and every function on it named.
func (p *Python) plausible(t thread) bool {
	stack, err := p.stack(t.frame)
	if err != nil || len(stack) == 0 {
		return false
	}
	seen := map[uint64]bool{}
	for _, f := range stack {
		if !seen[f.code] && p.load(f.code).fn == Unknown {
			return false
		}
		seen[f.code] = true
	}
	return true
}

// thread is a PyThreadState.
type thread struct {
	id    uint64 // thread_id
	frame uint64 // topmost; 0 when no Python function runs
}

// threads lists the thread states of all interpreters. ErrNotReady where there is no interpreter yet.
func (p *Python) threads(runtime uint64) ([]thread, error) {
	l := p.layout
	interp, err := p.pointer(runtime + uint64(l.InterpHead))
	if err != nil {
		return nil, err
	}
	if interp == 0 {
		return nil, target.ErrNotReady
	}
	var out []thread
	for n := 0; interp != 0; n++ {
		if n == maxInterpreters {
			return nil, errors.New("the list of interpreters has no end")
		}
		if out, err = p.threadsOf(interp, out); err != nil {
			return nil, err
		}
		if interp, err = p.pointer(interp + uint64(l.InterpNext)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p *Python) threadsOf(interp uint64, out []thread) ([]thread, error) {
	l := p.layout
	raw := make([]byte, max(l.ThreadNext, l.ThreadInterp, l.ThreadID, l.ThreadFrame)+8)
	state, err := p.pointer(interp + uint64(l.ThreadsHead))
	for state != 0 && err == nil {
		if len(out) == maxThreads {
			return nil, errors.New("the list of threads has no end")
		}
		if err := p.mem.Read(raw, state); err != nil {
			return nil, err
		}
		if word(raw, l.ThreadInterp) != interp {
			return nil, fmt.Errorf("the thread state at %#x does not belong to its interpreter", state)
		}
		frame := word(raw, l.ThreadFrame)
		if l.CFrame != NoOffset && frame != 0 {
			top, err := p.pointer(frame + uint64(l.CFrame))
			switch {
			case err == nil:
				frame = top
			case !errors.Is(err, unix.EFAULT): // else the stack that it lies on went with its thread, in a forked process
				return nil, err
			}
		}
		out = append(out, thread{word(raw, l.ThreadID), frame})
		state = word(raw, l.ThreadNext)
	}
	return out, err
}

// frame is one function on a stack: where it lies, its code object, and its place as Layout.FrameInstr says.
type frame struct{ address, code, instr uint64 }

// stack walks the frames from that at an address to the outermost.
func (p *Python) stack(at uint64) ([]frame, error) {
	l := p.layout
	size := max(l.FramePrev, l.FrameCode, l.FrameInstr) + 8
	if l.FrameOwner != NoOffset {
		size = max(size, l.FrameOwner+1)
	}
	raw := make([]byte, size)
	var out []frame
	before := at // of the frames so far one, ever later
	for n := 0; at != 0; n++ {
		if n == maxFrames || n > 0 && at == before {
			return nil, errors.New("the stack has no end")
		}
		if n&(n-1) == 0 {
			before = at
		}
		if err := p.mem.Read(raw, at); err != nil {
			return nil, err
		}
		if l.FrameOwner == NoOffset || raw[l.FrameOwner] < frameOwnedByCStack {
			f := frame{address: at, code: word(raw, l.FrameCode) &^ tagBits, instr: word(raw, l.FrameInstr)}
			if l.FrameIsObject {
				f.instr = uint64(binary.LittleEndian.Uint32(raw[l.FrameInstr:]))
			}
			out = append(out, f)
		}
		at = word(raw, l.FramePrev)
	}
	return out, nil
}

func (p *Python) pointer(addr uint64) (uint64, error) {
	var raw [8]byte
	err := p.mem.Read(raw[:], addr)
	return binary.LittleEndian.Uint64(raw[:]), err
}
