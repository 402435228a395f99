// Prints the offsets of one CPython version as fields of symbol.Layout, one "Name value" a line.
// Compiled by scripts/gen-layouts against the headers of the version that the row is for.
// Defining Py_GIL_DISABLED gives those of the free-threaded build, whose headers are the same.
#define Py_BUILD_CORE 1
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if PY_VERSION_HEX >= 0x03080000
#include "internal/pycore_pystate.h"
#elif PY_VERSION_HEX >= 0x03070000
#include "internal/pystate.h"
#endif
#if PY_VERSION_HEX >= 0x03090000
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#endif
#include "frameobject.h"
#if PY_VERSION_HEX >= 0x030b0000
#include "internal/pycore_frame.h"
#endif
#if PY_VERSION_HEX >= 0x030e0000
#include "internal/pycore_interpframe_structs.h"
#endif

#define SHOW(name, value) printf(#name " %zu\n", (size_t)(value))
#define FIELD(name, type, field) SHOW(name, offsetof(type, field))
#define ABSENT(name) printf(#name " NoOffset\n")

static void threads(void)
{
#if PY_VERSION_HEX >= 0x03070000
	FIELD(InterpHead, _PyRuntimeState, interpreters.head);
#else
	ABSENT(InterpHead);
#endif
	FIELD(InterpNext, PyInterpreterState, next);
#if PY_VERSION_HEX >= 0x030c0000
	SHOW(InterpSize, sizeof(PyInterpreterState));
#else
	ABSENT(InterpSize);
#endif
#if PY_VERSION_HEX >= 0x030b0000
	FIELD(ThreadsHead, PyInterpreterState, threads.head);
#else
	FIELD(ThreadsHead, PyInterpreterState, tstate_head);
#endif
	FIELD(ThreadNext, PyThreadState, next);
	FIELD(ThreadInterp, PyThreadState, interp);
	FIELD(ThreadID, PyThreadState, thread_id);
#if PY_VERSION_HEX >= 0x03070000
	FIELD(ThreadContext, PyThreadState, context);
#else
	ABSENT(ThreadContext);
#endif
#if PY_VERSION_HEX >= 0x030d0000
	FIELD(ThreadFrame, PyThreadState, current_frame);
	ABSENT(CFrame);
#elif PY_VERSION_HEX >= 0x030b0000
	FIELD(ThreadFrame, PyThreadState, cframe);
	FIELD(CFrame, _PyCFrame, current_frame);
#else
	FIELD(ThreadFrame, PyThreadState, frame);
	ABSENT(CFrame);
#endif
}

#if PY_VERSION_HEX >= 0x030b0000
static void frames(void)
{
	FIELD(FramePrev, _PyInterpreterFrame, previous);
#if PY_VERSION_HEX >= 0x030d0000
	FIELD(FrameCode, _PyInterpreterFrame, f_executable);
	FIELD(FrameInstr, _PyInterpreterFrame, instr_ptr);
#else
	FIELD(FrameCode, _PyInterpreterFrame, f_code);
	FIELD(FrameInstr, _PyInterpreterFrame, prev_instr);
#endif
	FIELD(FrameOwner, _PyInterpreterFrame, owner);
#if PY_VERSION_HEX >= 0x030e0000
	FIELD(FrameStackTop, _PyInterpreterFrame, stackpointer);
#else
	FIELD(FrameStackTop, _PyInterpreterFrame, stacktop);
#endif
	ABSENT(FrameStackDepth);
	ABSENT(FrameValueStack);
	FIELD(FrameLocals, _PyInterpreterFrame, localsplus);
	ABSENT(FrameGen);
	FIELD(GenFrame, PyCoroObject, cr_iframe);
	FIELD(GenState, PyCoroObject, cr_frame_state);
}
#else
static void frames(void)
{
	FIELD(FramePrev, PyFrameObject, f_back);
	FIELD(FrameCode, PyFrameObject, f_code);
	FIELD(FrameInstr, PyFrameObject, f_lasti);
	ABSENT(FrameOwner);
#if PY_VERSION_HEX >= 0x030a0000
	ABSENT(FrameStackTop);
	FIELD(FrameStackDepth, PyFrameObject, f_stackdepth);
	FIELD(FrameValueStack, PyFrameObject, f_valuestack);
#else
	FIELD(FrameStackTop, PyFrameObject, f_stacktop);
	ABSENT(FrameStackDepth);
	FIELD(FrameValueStack, PyFrameObject, f_valuestack);
#endif
	FIELD(FrameLocals, PyFrameObject, f_localsplus);
	FIELD(FrameGen, PyFrameObject, f_gen);
	FIELD(GenFrame, PyCoroObject, cr_frame);
	ABSENT(GenState);
}
#endif

static void codes(void)
{
	SHOW(CodeSize, sizeof(PyCodeObject));
	FIELD(CodeFlags, PyCodeObject, co_flags);
	FIELD(CodeFirstLine, PyCodeObject, co_firstlineno);
	FIELD(CodeFilename, PyCodeObject, co_filename);
	FIELD(CodeName, PyCodeObject, co_name);
#if PY_VERSION_HEX >= 0x030b0000
	FIELD(CodeQualname, PyCodeObject, co_qualname);
	FIELD(CodeInstrs, PyCodeObject, co_code_adaptive);
	FIELD(CodeNLocals, PyCodeObject, co_nlocalsplus);
	ABSENT(CodeCells);
	ABSENT(CodeFree);
#else
	ABSENT(CodeQualname);
	FIELD(CodeInstrs, PyCodeObject, co_code);
	FIELD(CodeNLocals, PyCodeObject, co_nlocals);
	FIELD(CodeCells, PyCodeObject, co_cellvars);
	FIELD(CodeFree, PyCodeObject, co_freevars);
#endif
#if PY_VERSION_HEX >= 0x030e0000 && defined(Py_GIL_DISABLED)
	FIELD(CodeCopies, PyCodeObject, co_tlbc);
#else
	ABSENT(CodeCopies);
#endif
#if PY_VERSION_HEX >= 0x030a0000
	FIELD(CodeLineTable, PyCodeObject, co_linetable);
#else
	FIELD(CodeLineTable, PyCodeObject, co_lnotab);
#endif
}

// The bit-field's place in the 4 bytes at state.
static int first_bit_of_kind(void)
{
	PyASCIIObject text;
	uint32_t state;

	memset(&text, 0, sizeof(text));
	text.state.kind = 1;
	memcpy(&state, &text.state, sizeof(state));
	return __builtin_ctz(state);
}

static void objects(void)
{
	FIELD(ObjectType, PyObject, ob_type);
	FIELD(StrLength, PyASCIIObject, length);
	FIELD(StrState, PyASCIIObject, state);
	SHOW(StrKind, first_bit_of_kind());
	SHOW(StrASCII, sizeof(PyASCIIObject));
	SHOW(StrCompact, sizeof(PyCompactUnicodeObject));
	FIELD(TupleItems, PyTupleObject, ob_item);
	FIELD(BytesSize, PyVarObject, ob_size);
	FIELD(BytesData, PyBytesObject, ob_sval);
}

int main(void)
{
	threads();
	frames();
	codes();
	objects();
	return 0;
}
