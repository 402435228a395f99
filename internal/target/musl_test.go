package target

import (
	"os/exec"
	"testing"
	"unsafe"

	"apm-ebpf/internal/target/targettest"
)

// TestFindGILOfMusl has the words of an interpreter lock as they were read from CPython 3.11 on musl, alone and with two
// threads that wait for it.
func TestFindGILOfMusl(t *testing.T) {
	const thread, newer, older = 0x55d0c0a8f3a0, 0x7f1c2c1ff9d0, 0x7f1c2c2409d0
	waiting := [6]uint64{0, newer, 1, 0, 0, older}
	nobody := [6]uint64{0, 0, 1, 0, 0, 0}
	lock := func(interval, holder, locked, switches uint64, cond, switchCond [6]uint64) []uint64 {
		words := []uint64{7, 5000, 0, thread, 1, interval, holder, locked, switches}
		words = append(append(words, cond[:]...), 0, 0, 0, 0, 0)
		words = append(append(words, switchCond[:]...), 0, 0, 0, 0, 0)
		return append(words, 5000, thread, 1, 2)
	}
	for _, test := range []struct {
		name  string
		words []uint64
		want  int
	}{
		{"nobody waits", lock(5000, thread, 1, 3, nobody, nobody), 5},
		{"threads wait", lock(5000, thread, 1, 3, waiting, nobody), 5},
		{"just given up", lock(5000, thread, 0, 3, waiting, waiting), 5},
		{"another interval", lock(100, thread, 1, 3, nobody, nobody), 5},
		{"none yet", lock(5000, 0, 0, 0, nobody, nobody), -1},
		{"another clock", lock(5000, thread, 1, 3, [6]uint64{0, 0, 0, 0, 0, 0}, nobody), -1},
		{"half a list", lock(5000, thread, 1, 3, [6]uint64{0, newer, 1, 0, 0, 0}, nobody), -1},
		{"the second is none", lock(5000, thread, 1, 3, nobody, [6]uint64{thread, 0, 1, 0, 0, 0}), -1},
		{"cut off", lock(5000, thread, 1, 3, nobody, nobody)[:30], -1},
		{"nothing", nil, -1},
	} {
		if got := findGILOfMusl(test.words); got != test.want {
			t.Errorf("%s: found at %d, want %d", test.name, got, test.want)
		}
	}
}

// TestNoGILOfMusl has interpreters of another C library, which have nothing that looks like it.
func TestNoGILOfMusl(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		child := targettest.Start(t, exec.Command(python.Path, "-c", printVersion))
		child.Line()
		p := inspect(t, child.Process.Pid)
		words := make([]uint64, (p.Python.RuntimeEnd-p.Python.Runtime)/8)
		if err := Memory(p.PID).Read(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words)), p.Python.Runtime); err != nil {
			t.Fatal(err)
		}
		if at := findGILOfMusl(words); at >= 0 || p.LockOfMusl() != 0 {
			t.Errorf("%s: taken for musl's at word %d", python, at)
		}
	}
}
