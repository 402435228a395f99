package symbol

import (
	"fmt"

	"apm-ebpf/internal/target"
)

// NoOffset marks a field that a version does not have.
const NoOffset = ^uint32(0)

// Layout tells where one version of CPython keeps what the kernel programs and the symbolizer read. Every offset is in
// bytes from the start of the structure named; NoOffset where the version has no such field.
type Layout struct {
	Minor        int    // of Python 3
	FreeThreaded bool   // built without the interpreter lock: objects have another head
	Source       string // what the offsets were read from

	// FrameIsObject: frames are PyFrameObject (3.10 and older), and FrameInstr is an int, f_lasti: -1 before the first
	// instruction, in bytes, in 3.10 in units of 2 bytes. Later frames are _PyInterpreterFrame and FrameInstr is an
	// address: of the code unit before the next one in 3.11 and 3.12 (prev_instr), of the current one since.
	FrameIsObject bool

	InterpHead  uint32 // _PyRuntime.interpreters.head; in 3.6 interp_head, a variable that each build has elsewhere
	InterpNext  uint32 // PyInterpreterState.next
	InterpSize  uint32 // sizeof(PyInterpreterState), 3.12 and later, where it has the words of its own interpreter lock
	ThreadsHead uint32 // PyInterpreterState.threads.head

	ThreadNext    uint32 // PyThreadState.next
	ThreadInterp  uint32 // PyThreadState.interp
	ThreadID      uint32 // PyThreadState.thread_id: pthread_self(), on x86_64 the thread's TLS base
	ThreadContext uint32 // PyThreadState.context, 3.7 and later
	ThreadFrame   uint32 // PyThreadState.frame, .cframe (where CFrame is present) or .current_frame
	CFrame        uint32 // _PyCFrame.current_frame; NoOffset where ThreadFrame is the frame itself

	FramePrev       uint32 // f_back, previous
	FrameCode       uint32 // f_code, f_executable
	FrameInstr      uint32 // f_lasti, prev_instr, instr_ptr
	FrameOwner      uint32 // char: 0 thread, 1 generator, 2 frame object, 3 and above, 3.12 and later: a shim without code
	FrameStackTop   uint32 // 3.11 to 3.13: int, index into FrameLocals; before and after: pointer past the topmost value
	FrameStackDepth uint32 // 3.10: int, index into what FrameValueStack points to
	FrameValueStack uint32 // 3.10 and older: pointer to the bottom of the value stack
	FrameLocals     uint32 // f_localsplus, localsplus
	FrameGen        uint32 // f_gen, 3.10 and older

	GenFrame uint32 // in a generator or coroutine: its frame, embedded; a pointer where FrameIsObject
	GenState uint32 // char gi_frame_state, 3.11 and later
	TaskCoro uint32 // _asyncio.Task: task_coro
	TaskSize uint32 // … of tasks of so many bytes; see TaskCoroOf

	CodeSize      uint32 // sizeof(PyCodeObject) without its instructions
	CodeFlags     uint32 // int
	CodeFirstLine uint32 // int
	CodeFilename  uint32
	CodeName      uint32
	CodeQualname  uint32 // 3.11 and later
	CodeInstrs    uint32 // co_code_adaptive, embedded; co_code, a bytes object, where FrameIsObject
	CodeNLocals   uint32 // int co_nlocalsplus; 3.10 and older: co_nlocals, behind which lie the cells …
	CodeCells     uint32 // … of co_cellvars, a tuple, and those …
	CodeFree      uint32 // … of co_freevars
	CodeLineTable uint32 // co_linetable, co_lnotab: a bytes object
	CodeCopies    uint32 // co_tlbc, the instructions again for each thread that specialises them; free-threaded, 3.14 and later

	ObjectType uint32 // PyObject.ob_type
	StrLength  uint32 // PyASCIIObject.length, in characters
	StrState   uint32 // PyASCIIObject.state
	StrKind    uint32 // first bit of state.kind, which .compact and .ascii follow
	StrASCII   uint32 // text of a compact ASCII string
	StrCompact uint32 // text of any other compact string
	TupleItems uint32 // PyTupleObject.ob_item
	BytesSize  uint32 // PyVarObject.ob_size, of a bytes object in bytes
	BytesData  uint32 // PyBytesObject.ob_sval
}

// TaskCoroOf gives where tasks of so many bytes keep their coroutine, if that is known: patch releases have added to them.
func (l *Layout) TaskCoroOf(size uint32) (offset uint32, known bool) {
	const traceback = 8 // fut_exception_tb, which comes before it and is not in 3.10.4 yet
	switch {
	case size == l.TaskSize:
		return l.TaskCoro, true
	case l.Minor == 10 && size == l.TaskSize-traceback:
		return l.TaskCoro - traceback, true
	}
	return 0, false
}

// layoutOf gives the layout of the interpreter: the row of its version, from 3.13 on under what the process itself
// tells in _Py_DebugOffsets. One that is newer than the last row gets that.
func layoutOf(py *target.Python, mem target.Memory) (*Layout, error) {
	last := layouts[len(layouts)-1]
	for _, row := range layouts {
		if py.Major != 3 || row.Minor != min(py.Minor, last.Minor) || row.FreeThreaded != py.FreeThreaded {
			continue
		}
		if row.InterpHead == NoOffset {
			row.InterpHead = uint32(py.Interpreters - py.Runtime)
		}
		if row.Minor < 13 {
			return &row, nil
		}
		err := row.readDebugOffsets(py.Runtime, mem, py.Minor)
		if err != nil && py.Minor > last.Minor {
			err = fmt.Errorf("CPython 3.%d is newer than 3.%d, the last that is known, and keeps things elsewhere: %w", py.Minor, last.Minor, err)
		}
		return &row, err
	}
	return nil, fmt.Errorf("no layout of CPython %d.%d is known, only of 3.%d to 3.%d", py.Major, py.Minor, layouts[0].Minor, last.Minor)
}
