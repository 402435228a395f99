package target

import (
	"debug/elf"
	"os/exec"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// loadQueue prints the address of the method that fills a queue.
const loadQueue = `
try:
    from _queue import SimpleQueue
    print(id(SimpleQueue.put), flush=True)
except ImportError:
    print(0, flush=True)
input()
`

func TestQueue(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			child := targettest.Start(t, exec.Command(python.Path, "-c", loadQueue))
			var method uint64 // PyMethodDescrObject, whose d_method is at 40
			answer(t, child, &method)
			if method == 0 {
				t.Skip("3.6 has no _queue")
			}
			p := inspect(t, child.Process.Pid)
			q, err := p.Queue()
			if err != nil || q == nil {
				t.Fatalf("%+v, %v", q, err)
			}
			defer q.Close()
			if at := word(t, p, word(t, p, method+40)+methMeth); !samePlace(t, p, q.ProbeFile, q.Put, at) {
				t.Errorf("put at offset %#x of %s, the process has it at %#x", q.Put, q.Path, at)
			}
			first := firstInstruction(t, q.ProbeFile, q.Put)
			t.Logf("%#x % x", q.Put, first)
			if machine(t, q.Path) == elf.EM_X86_64 && !isPush(first) && !isSub(first) {
				t.Errorf("put begins with % x, neither a push nor a sub", first)
			}
		})
	}
}
