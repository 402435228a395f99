package symbol

import (
	"encoding/binary"
	"fmt"
	"strings"

	"apm-ebpf/internal/target"
)

// debugFields lists the words of _Py_DebugOffsets, with which _PyRuntime begins, from the cookie on: CPython 3.13
// Include/internal/pycore_runtime.h, later pycore_debug_offsets.h. Those that nothing here reads are dashes; words that
// follow the last are left out.
var debugFields = map[int]string{
	13: `cookie version free-threaded
		- - interpreters.head
		interp.size - interp.next threads.head - - - - - - - - -
		- - thread.next thread.interp current_frame thread_id - - -
		- previous executable instr_ptr localsplus owner
		- filename name qualname linetable firstlineno - - - adaptive
		- ob_type
		- - - -  - tuple.items -  - - -  - - -  - -  - - -
		- bytes.size bytes.data
		- str.state str.length str.ascii`,
	14: `cookie version free-threaded
		- - interpreters.head
		interp.size - interp.next threads.head - - - - - - - - - - - -
		- - thread.next thread.interp current_frame thread_id - - -
		- previous executable instr_ptr localsplus owner stackpointer -
		- filename name qualname linetable firstlineno - - - adaptive copies
		- ob_type
		- - - -  - tuple.items -  - - -  - - - -  - - -  - -  - - -
		- bytes.size bytes.data
		- str.state str.length str.ascii
		- -
		- - gen.frame gen.state`,
	15: `cookie version free-threaded
		- - interpreters.head
		interp.size - interp.next threads.head - - - - - - - - - - - -
		- - thread.next thread.interp current_frame - - - thread_id - - - - - - -
		-
		- previous executable instr_ptr localsplus owner stackpointer -
		- filename name qualname linetable firstlineno - - - adaptive copies
		- ob_type
		- - - - - -  - -  - tuple.items -  - - -  - - - -  - - -  - -  - - -
		- bytes.size bytes.data
		- str.state str.length str.ascii str.compact
		- - - - -
		- - gen.frame gen.state`,
}

// debugCookie is the first word, "xdebugpy".
const debugCookie = 0x7970677562656478

// fields are where the words of _Py_DebugOffsets go. A version has some of them.
func (l *Layout) fields() map[string]*uint32 {
	return map[string]*uint32{
		"interpreters.head": &l.InterpHead,
		"interp.next":       &l.InterpNext,
		"interp.size":       &l.InterpSize,
		"threads.head":      &l.ThreadsHead,
		"thread.next":       &l.ThreadNext,
		"thread.interp":     &l.ThreadInterp,
		"current_frame":     &l.ThreadFrame,
		"thread_id":         &l.ThreadID,
		"previous":          &l.FramePrev,
		"executable":        &l.FrameCode,
		"instr_ptr":         &l.FrameInstr,
		"localsplus":        &l.FrameLocals,
		"owner":             &l.FrameOwner,
		"stackpointer":      &l.FrameStackTop,
		"filename":          &l.CodeFilename,
		"name":              &l.CodeName,
		"qualname":          &l.CodeQualname,
		"linetable":         &l.CodeLineTable,
		"firstlineno":       &l.CodeFirstLine,
		"adaptive":          &l.CodeInstrs,
		"copies":            &l.CodeCopies,
		"ob_type":           &l.ObjectType,
		"tuple.items":       &l.TupleItems,
		"bytes.size":        &l.BytesSize,
		"bytes.data":        &l.BytesData,
		"str.state":         &l.StrState,
		"str.length":        &l.StrLength,
		"str.ascii":         &l.StrASCII,
		"str.compact":       &l.StrCompact,
		"gen.frame":         &l.GenFrame,
		"gen.state":         &l.GenState,
	}
}

// maxOffset bounds every offset that a process tells about itself: of the structures that we read only
// PyInterpreterState grows beyond 100 KiB.
const maxOffset = 1 << 20

// readDebugOffsets puts what the process tells about itself over the row of the table. minor is the process's: one newer
// than the row is read as if it were the row's, which check then finds right or wrong.
func (l *Layout) readDebugOffsets(runtime uint64, mem target.Memory, minor int) error {
	names := strings.Fields(debugFields[l.Minor])
	raw := make([]byte, 8*len(names))
	if err := mem.Read(raw, runtime); err != nil {
		return fmt.Errorf("read _Py_DebugOffsets: %w", err)
	}
	words := make([]uint64, len(names))
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return l.apply(names, words, minor)
}

func (l *Layout) apply(names []string, words []uint64, minor int) error {
	fields := l.fields()
	for i, word := range words {
		switch names[i] {
		case "-":
			continue
		case "cookie":
			if word != debugCookie {
				return fmt.Errorf("decode _Py_DebugOffsets: the cookie is %#x, not xdebugpy", word)
			}
			continue
		case "version": // PY_VERSION_HEX
			if told := int(word >> 16 & 0xff); told != minor {
				return fmt.Errorf("decode _Py_DebugOffsets: they are of 3.%d, the interpreter is 3.%d", told, minor)
			}
			continue
		case "free-threaded":
			if (word != 0) != l.FreeThreaded {
				return fmt.Errorf("decode _Py_DebugOffsets: they are of another build of 3.%d: free-threaded %d", minor, word)
			}
			continue
		case "copies":
			if !l.FreeThreaded {
				continue
			}
		}
		if word >= maxOffset {
			return fmt.Errorf("decode _Py_DebugOffsets: %#x is too large for an offset", word)
		}
		*fields[names[i]] = uint32(word)
	}
	if !l.sound() {
		return fmt.Errorf("decode _Py_DebugOffsets: fields lie outside of their objects: %+v", *l)
	}
	l.Source = "_Py_DebugOffsets of the process, else " + l.Source
	return nil
}

// sound tells whether the fields that are picked out of an object once it was read lie inside of what is read.
func (l *Layout) sound() bool {
	for _, at := range []uint32{l.CodeFirstLine, l.CodeFilename, l.CodeName, l.codeName(), l.CodeLineTable, l.ObjectType} {
		if at+8 > l.CodeSize {
			return false
		}
	}
	return l.ObjectType >= 8 && l.CodeFlags+4 <= l.CodeSize && l.StrLength+8 <= l.StrASCII && l.StrState+4 <= l.StrASCII &&
		l.StrASCII <= l.StrCompact && l.BytesSize == l.StrLength && l.BytesSize+8 <= l.BytesData && l.BytesData <= l.StrCompact
}
