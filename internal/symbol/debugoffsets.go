package symbol

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"apm-ebpf/internal/target"
)

// debugOffsets is _Py_DebugOffsets of CPython 3.13, with which _PyRuntime begins (Include/internal/pycore_runtime.h).
// Sizes are bytes of the structure, everything else is an offset in it.
type debugOffsets struct {
	Cookie       [8]byte
	Version      uint64 // PY_VERSION_HEX
	FreeThreaded uint64

	Runtime struct{ Size, Finalizing, InterpretersHead uint64 }
	Interp  struct {
		Size, ID, Next, ThreadsHead, GC, ImportsModules, SysDict, Builtins, CevalGIL uint64
		GIL, GILEnabled, GILLocked, GILHolder                                        uint64
	}
	Thread struct {
		Size, Prev, Next, Interp, CurrentFrame, ThreadID, NativeThreadID, DatastackChunk, Status uint64
	}
	Frame struct{ Size, Previous, Executable, InstrPtr, LocalsPlus, Owner uint64 }
	Code  struct {
		Size, Filename, Name, Qualname, LineTable, FirstLineNo, ArgCount, LocalsNames, LocalsKinds, Adaptive uint64
	}
	Object  struct{ Size, Type uint64 }
	Type    struct{ Size, Name, Repr, Flags uint64 }
	Tuple   struct{ Size, Items, Length uint64 }
	List    struct{ Size, Items, Length uint64 }
	Dict    struct{ Size, Keys, Values uint64 }
	Float   struct{ Size, Value uint64 }
	Long    struct{ Size, Tag, Digits uint64 }
	Bytes   struct{ Size, Length, Data uint64 }
	Unicode struct{ Size, State, Length, ASCIISize uint64 }
}

// maxOffset bounds every offset that a process tells about itself: of the structures that we read only
// PyInterpreterState grows beyond 100 KiB.
const maxOffset = 1 << 20

// readDebugOffsets puts what the process tells about itself over the row of the table.
func (l *Layout) readDebugOffsets(runtime uint64, mem target.Memory) error {
	var o debugOffsets
	raw := make([]byte, binary.Size(o))
	if err := mem.Read(raw, runtime); err != nil {
		return fmt.Errorf("read _Py_DebugOffsets: %w", err)
	}
	if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, &o); err != nil {
		return fmt.Errorf("decode _Py_DebugOffsets: %w", err)
	}
	return l.apply(&o)
}

func (l *Layout) apply(o *debugOffsets) error {
	if string(o.Cookie[:]) != "xdebugpy" {
		return fmt.Errorf("decode _Py_DebugOffsets: the cookie is %q, not xdebugpy", o.Cookie)
	}
	if minor := int(o.Version >> 16 & 0xff); minor != l.Minor {
		return fmt.Errorf("decode _Py_DebugOffsets: they are of 3.%d, the interpreter is 3.%d", minor, l.Minor)
	}
	if o.FreeThreaded != 0 {
		return fmt.Errorf("free-threaded builds are not supported: run the ordinary build of CPython 3.%d", l.Minor)
	}
	for _, field := range []struct {
		to   *uint32
		from uint64
	}{
		{&l.InterpHead, o.Runtime.InterpretersHead},
		{&l.InterpNext, o.Interp.Next},
		{&l.ThreadsHead, o.Interp.ThreadsHead},
		{&l.ThreadNext, o.Thread.Next},
		{&l.ThreadInterp, o.Thread.Interp},
		{&l.ThreadFrame, o.Thread.CurrentFrame},
		{&l.ThreadID, o.Thread.ThreadID},
		{&l.ThreadNativeID, o.Thread.NativeThreadID},
		{&l.FramePrev, o.Frame.Previous},
		{&l.FrameCode, o.Frame.Executable},
		{&l.FrameInstr, o.Frame.InstrPtr},
		{&l.FrameLocals, o.Frame.LocalsPlus},
		{&l.FrameOwner, o.Frame.Owner},
		{&l.CodeFilename, o.Code.Filename},
		{&l.CodeName, o.Code.Name},
		{&l.CodeQualname, o.Code.Qualname},
		{&l.CodeLineTable, o.Code.LineTable},
		{&l.CodeFirstLine, o.Code.FirstLineNo},
		{&l.CodeInstrs, o.Code.Adaptive},
		{&l.ObjectType, o.Object.Type},
		{&l.BytesSize, o.Bytes.Length},
		{&l.BytesData, o.Bytes.Data},
		{&l.StrState, o.Unicode.State},
		{&l.StrLength, o.Unicode.Length},
		{&l.StrASCII, o.Unicode.ASCIISize},
	} {
		if field.from >= maxOffset {
			return fmt.Errorf("decode _Py_DebugOffsets: %#x is too large for an offset", field.from)
		}
		*field.to = uint32(field.from)
	}
	if !l.sound() {
		return fmt.Errorf("decode _Py_DebugOffsets: fields lie outside of their objects: %+v", *l)
	}
	l.Source = "_Py_DebugOffsets of the process, else " + l.Source
	return nil
}

// sound tells whether the fields that are picked out of an object once it was read lie inside of what is read.
func (l *Layout) sound() bool {
	for _, at := range []uint32{l.CodeFirstLine, l.CodeFilename, l.CodeName, l.CodeQualname, l.CodeLineTable, l.ObjectType} {
		if at+8 > l.CodeSize {
			return false
		}
	}
	return l.ObjectType <= l.CodeFlags && l.CodeFlags <= l.CodeLineTable && l.StrLength+8 <= l.StrASCII && l.StrState+4 <= l.StrASCII && l.StrASCII <= l.StrCompact &&
		l.BytesSize == l.StrLength && l.BytesSize+8 <= l.BytesData && l.BytesData <= l.StrCompact
}
