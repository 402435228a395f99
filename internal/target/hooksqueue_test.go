package target

import (
	"debug/elf"
	"os/exec"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// printMethods prints the addresses of the methods that are probed, 0 where there is none.
const printMethods = `
import collections
import select
try:
    from _queue import SimpleQueue
    put, get = id(SimpleQueue.put), id(SimpleQueue.get)
except ImportError:
    put = get = 0
print([put, get, id(select.epoll.modify), id(collections.deque.append), id(collections.deque.popleft)], flush=True)
input()
`

func TestMethods(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			child := targettest.Start(t, exec.Command(python.Path, "-c", printMethods))
			var put, get, modify, appends, popLeft uint64 // PyMethodDescrObject, whose d_method is 24 bytes behind its head
			answer(t, child, &[]any{&put, &get, &modify, &appends, &popLeft})
			p := inspect(t, child.Process.Pid)
			q, err := p.Queue()
			if err != nil || (q == nil) != (put == 0) {
				t.Fatalf("%+v, %v", q, err)
			}
			if q != nil {
				checkMethod(t, p, &q.ProbeFile, q.Put[0], put)
				checkMethod(t, p, &q.ProbeFile, q.Get[0], get)
				q.Close()
			}
			e, err := p.Epoll()
			if err != nil || e == nil {
				t.Fatalf("%+v, %v", e, err)
			}
			checkMethod(t, p, &e.ProbeFile, e.Modify, modify)
			e.Close()
			d, err := p.Deque()
			if err != nil {
				t.Fatal(err)
			}
			checkMethod(t, p, &d.ProbeFile, d.Append, appends)
			checkMethod(t, p, &d.ProbeFile, d.PopLeft, popLeft)
			d.Close()
		})
	}
}

// checkMethod compares the place of a method with what the process has in its descriptor.
func checkMethod(t *testing.T, p *Process, f *ProbeFile, offset, descriptor uint64) {
	t.Helper()
	if at := word(t, p, word(t, p, descriptor+p.Python.header()+24)+methMeth); !samePlace(t, p, *f, offset, at) {
		t.Errorf("offset %#x of %s, the process has the method at %#x", offset, f.Path, at)
	}
	if first := firstInstruction(t, *f, offset); machine(t, f.Path) == elf.EM_X86_64 && !isPush(first) {
		t.Logf("%s+%#x begins with % x: each call costs a single step", f.Path, offset, first)
	}
}
