package target

import (
	"path"
	"strings"
	"unsafe"
)

// gilOfMusl is CPython's struct _gil_runtime_state (Include/internal/pycore_gil.h), alike since 3.7, with what musl has for
// pthread_cond_t and pthread_mutex_t on 64-bit machines (include/alltypes.h.in).
type gilOfMusl struct {
	Interval, Holder uint64
	Locked           uint64 // an int
	Switches         uint64
	Cond             condOfMusl
	Mutex            [5]uint64
	SwitchCond       condOfMusl
	SwitchMutex      [5]uint64
}

// condOfMusl is a condition variable that one process uses, as CPython's are (src/internal/pthread_impl.h of musl).
type condOfMusl struct {
	Shared, Newest uint64
	Clock, Unused  uint64
	Lock           uint64
	Oldest         uint64
}

// LockOfMusl gives the address of the condition variable on which threads wait for the interpreter lock, where the C
// library is musl: there each waits on a word of its own stack, and that variable has the list of them. It gives 0
// elsewhere, where they wait on words of _PyRuntime, and where it cannot be found, as in 3.6.
func (p *Process) LockOfMusl() uint64 {
	py := p.Python
	maps, err := p.Mappings()
	if err != nil || usesGlibc(maps) || py.RuntimeEnd-py.Runtime > maxScan {
		return 0
	}
	words := make([]uint64, (py.RuntimeEnd-py.Runtime)/8)
	if len(words) == 0 || Memory(p.PID).Read(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words)), py.Runtime) != nil {
		return 0
	}
	if at := findGILOfMusl(words); at >= 0 {
		return py.Runtime + uint64(at)*8 + uint64(unsafe.Offsetof(gilOfMusl{}.Cond))
	}
	return 0
}

// findGILOfMusl gives the index of the first word of the interpreter lock, -1 where there is none.
func findGILOfMusl(words []uint64) int {
	const size = int(unsafe.Sizeof(gilOfMusl{}) / 8)
	for at := 0; at+size <= len(words); at++ {
		if (*gilOfMusl)(unsafe.Pointer(&words[at])).plausible() {
			return at
		}
	}
	return -1
}

func (g *gilOfMusl) plausible() bool {
	const interval = 1e9 // microseconds: sys.setswitchinterval may have set it, 5,000 where not
	return g.Interval > 0 && g.Interval <= interval && isPointer(g.Holder) && g.Locked <= 1 && g.Switches > 0 &&
		g.Cond.plausible() && g.SwitchCond.plausible()
}

func (c *condOfMusl) plausible() bool {
	return c.Shared == 0 && c.Clock == 1 && c.Unused == 0 && c.Lock <= 2 && // CLOCK_MONOTONIC
		(c.Newest == 0) == (c.Oldest == 0) && (c.Newest == 0 || isPointer(c.Newest) && isPointer(c.Oldest))
}

// usesGlibc tells a process that has glibc mapped; a static copy is not seen.
func usesGlibc(maps []Mapping) bool {
	for _, m := range maps {
		if base := path.Base(m.Path); strings.HasPrefix(base, "libc.so.6") || strings.HasPrefix(base, "libc-2.") {
			return true
		}
	}
	return false
}
