package target

import (
	"debug/elf"
	"os/exec"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// printMethods prints the addresses of the methods that are probed, 0 where there is none.
const printMethods = `
import select
try:
    from _queue import SimpleQueue
    put = id(SimpleQueue.put)
except ImportError:
    put = 0
print([put, id(select.epoll.modify)], flush=True)
input()
`

func TestMethods(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			child := targettest.Start(t, exec.Command(python.Path, "-c", printMethods))
			var put, modify uint64 // PyMethodDescrObject, whose d_method is at 40
			answer(t, child, &[]any{&put, &modify})
			p := inspect(t, child.Process.Pid)
			q, err := p.Queue()
			if err != nil || (q == nil) != (put == 0) {
				t.Fatalf("%+v, %v", q, err)
			}
			if q != nil {
				checkMethod(t, p, &q.ProbeFile, q.Put, put)
				q.Close()
			}
			e, err := p.Epoll()
			if err != nil || e == nil {
				t.Fatalf("%+v, %v", e, err)
			}
			checkMethod(t, p, &e.ProbeFile, e.Modify, modify)
			e.Close()
		})
	}
}

// checkMethod compares the place of a method with what the process has in its descriptor.
func checkMethod(t *testing.T, p *Process, f *ProbeFile, offset, descriptor uint64) {
	t.Helper()
	if at := word(t, p, word(t, p, descriptor+40)+methMeth); !samePlace(t, p, *f, offset, at) {
		t.Errorf("offset %#x of %s, the process has the method at %#x", offset, f.Path, at)
	}
	first := firstInstruction(t, *f, offset)
	t.Logf("%#x % x", offset, first)
	if machine(t, f.Path) == elf.EM_X86_64 && !isPush(first) && !isSub(first) {
		t.Errorf("%s+%#x begins with % x, neither a push nor a sub", f.Path, offset, first)
	}
}
