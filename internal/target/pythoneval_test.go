package target

import (
	"os/exec"
	"runtime"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// Where the interpreter's function has no frame yet is told in every build of 3.11 and 3.12: a part of its beginning.
func TestUnsetFrame(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("only told on x86_64")
	}
	for _, python := range targettest.Interpreters(t) {
		if python.Minor != 11 && python.Minor != 12 {
			continue
		}
		child := targettest.Start(t, exec.Command(python.Path, "-c", printVersion))
		child.Line()
		p := inspect(t, child.Process.Pid)
		current := uint32(0) // _PyCFrame.current_frame
		if python.Minor == 11 {
			current = 8
		}
		im, err := p.image(p.Python.mapping)
		if err != nil {
			t.Fatal(err)
		}
		defer im.close()
		eval := im.lookup(evalFrame)[evalFrame].addr + p.Python.Bias
		from, to := p.UnsetFrame(56, current) // PyThreadState.cframe
		if from <= eval || to <= from || to > eval+512 {
			t.Errorf("%s: from %#x to %#x, in the function at %#x", python.Path, from, to, eval)
		}
		if found := im.unsetFrame(eval-p.Python.Bias, 57, int64(current)); found.size != 0 {
			t.Errorf("%s: found %+v for a field that is none", python.Path, found)
		}
	}
}

// Instructions that are no compiler's must not be taken for such.
func FuzzUnsetFrame(f *testing.F) {
	f.Add([]byte{0x48, 0x8d, 0x44, 0x24, 0x10, 0x48, 0x89, 0x47, 0x38, 0x48, 0x89, 0x74, 0x24, 0x10})
	f.Fuzz(func(t *testing.T, text []byte) {
		im := &image{at: atOffset(text)}
		if found := im.unsetFrame(16, 56, 0); found.size > 512 || found.size != 0 && found.addr < 16 {
			t.Errorf("found %+v", found)
		}
	})
}

// atOffset has bytes from address 16 on.
type atOffset []byte

func (a atOffset) ReadAt(b []byte, at int64) (int, error) {
	return copy(b, a[min(max(at-16, 0), int64(len(a))):]), nil
}
