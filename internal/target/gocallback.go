package target

import "fmt"

// GoCallback is how the stack of what C has called goes on to what has called C. The frame pointer leads to the system stack
// there, where C's frames are.
type GoCallback struct {
	Entry, Size uint64 // of runtime.cgocallback in the process, bytes
	Skip        uint64 // from the frame of what it calls to the next that there is below, bytes
	Frame       uint64 // from the stack pointer of a goroutine that is in C to that frame, bytes
	Caller      uint64 // a program counter of runtime.cgocall, which has called C, where that is passed over; else 0
}

// Has tells whether a return address is one to runtime.cgocallback. c may be nil.
func (c *GoCallback) Has(pc uint64) bool { return c != nil && pc-c.Entry < c.Size }

// GoCallback finds that in a program whose C may call Go; nil where C does not, or on another machine than x86_64.
func (p *Process) GoCallback() (*GoCallback, error) {
	const callback, call, asmCall = "runtime.cgocallback", "runtime.cgocall", "runtime.asmcgocall"
	code, err := p.GoFuncs(callback, call, asmCall)
	if err != nil {
		return nil, err
	}
	defer code.Close()
	back, calledBack := code.Funcs[callback]
	caller, calls := code.Funcs[call]
	asm, switches := code.Funcs[asmCall]
	if !calledBack || !calls || !switches || code.im.arm64 {
		return nil, nil
	}
	frame, callerFrame := code.frame(back), code.frame(caller)
	if frame <= framePointer || callerFrame <= framePointer {
		return nil, fmt.Errorf("%s and %s have frames of %d and %d bytes", callback, call, frame, callerFrame)
	}
	// From the frame pointer that the callee has saved, over its return address, to cgocallback's frame, which is laid below
	// where asmcgocall stood, with a return address of its own (Go src/runtime/asm_amd64.s).
	const words = 3 * 8
	found := &GoCallback{Entry: back.Entry, Size: back.Size, Skip: words + frame}
	if code.frame(asm) < framePointer { // before Go 1.21 it has no frame
		found.Skip += callerFrame
		found.Frame = callerFrame
		found.Caller = caller.Entry
	}
	return found, nil
}

// framePointer is what the frame of a function takes that has no more than the frame pointer, bytes.
const framePointer = 8

// frame gives how far below its return address the stack pointer is in a function that has made its frame, bytes; 0: it
// makes none, or differs.
func (c *GoCode) frame(f GoFunc) (frame uint64) {
	for pc := f.linked.Entry; pc < f.linked.End; pc++ {
		switch d := uint64(max(c.table.Depth(&f.linked, pc), 0)); {
		case frame <= framePointer:
			frame = max(frame, d)
		case d > framePointer && d != frame:
			return 0
		}
	}
	return frame
}
