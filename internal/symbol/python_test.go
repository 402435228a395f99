package symbol

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"apm-ebpf/internal/target"
	"apm-ebpf/internal/target/targettest"
)

// start runs a program of testdata, copied to a directory whose name needs four bytes a character, gives the first line
// that it prints, and opens its symbols.
func start(t testing.TB, python targettest.Interpreter, program string) (*targettest.Child, string, *target.Process, *Python) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", program))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "приложение 😀", program)
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, source, 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python.Path, path)
	command.Env = append(os.Environ(), "PYTHONUTF8=1")
	child := targettest.Start(t, command)
	line := child.Line()
	process, err := target.Inspect(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := NewPython(process, nil)
	if err != nil {
		t.Fatal(err)
	}
	return child, line, process, symbols
}

// onEach runs a test on every interpreter.
func onEach(t *testing.T, test func(*testing.T, targettest.Interpreter)) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) { test(t, python) })
	}
}

// What is read from outside must be what the program says of itself.
func TestStacks(t *testing.T) {
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		_, text, process, symbols := start(t, python, "stacks.py")
		var want []struct {
			Thread uint64
			Frames [][]any
		}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if len(want) != 2 {
			t.Fatalf("the program tells of %d threads, want 2", len(want))
		}
		for _, w := range want {
			compare(t, symbols, settled(t, process, symbols, w.Thread, uint64(w.Frames[0][0].(float64))), w.Frames)
		}
	})
}

// Where no symbols are left, all that is needed is found by how it looks.
func TestWithoutSymbols(t *testing.T) {
	if testing.Short() {
		t.Skip("links an executable for each version")
	}
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		if python.Minor < 7 {
			t.Skip("3.6 has no _PyRuntime")
		}
		bare, home := python.Bare(t)
		t.Setenv("PYTHONHOME", home)
		_, text, process, symbols := start(t, bare, "reuse.py")
		var addr uint64
		var name string
		fmt.Sscan(text, &addr, &name)
		if got := symbols.Func(addr).Name; got != name {
			t.Errorf("name %q, want %q", got, name)
		}
		if process.Python.Minor != python.Minor || process.Python.Image != process.Exe {
			t.Errorf("found %+v", process.Python)
		}
	})
}

// settled waits until the function that prints has returned and the topmost is the one that waits.
func settled(t *testing.T, process *target.Process, symbols *Python, id, top uint64) []Caller {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		threads, err := symbols.threads(process.Python.Runtime)
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			stack, err := symbols.Callers(thread.frame)
			if thread.id == id && err == nil && len(stack) > 0 && stack[0].Code == top {
				return stack
			}
		}
	}
	t.Fatalf("thread %#x never came to wait", id)
	return nil
}

func compare(t *testing.T, symbols *Python, stack []Caller, want [][]any) {
	t.Helper()
	var got []string
	for _, c := range stack {
		got = append(got, fmt.Sprintf("%x %s %s %d at %d", c.Code, c.Func.Name, c.Func.File, c.Func.Line,
			symbols.LineOf(c.Func, c.Code, c.Instr)))
	}
	for i, w := range want {
		line := fmt.Sprintf("%x %v %v %v at %v", uint64(w[0].(float64)), w[1], w[2], w[3], w[4])
		if i >= len(got) || got[i] != line {
			t.Fatalf("frame %d of %d: want %s\ngot\n%s", i, len(want), line, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d frames, want %d", len(got), len(want))
	}
}

// A program that makes and frees code objects uses their addresses again: what is told of them takes the old one's place,
// and the same function is the same *Func.
func TestAddressesUsedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		child, text, _, symbols := start(t, python, "reuse.py")
		reused := 0
		for range 200 {
			var addr uint64
			var name string
			fmt.Sscan(text, &addr, &name)
			if symbols.codes[addr] != nil {
				reused++
			}
			symbols.forget(addr)
			fn := symbols.Func(addr)
			symbols.LineOf(fn, addr, 0)
			if fn.Name != name {
				t.Fatalf("name %q, want %q", fn.Name, name)
			}
			symbols.forget(addr)
			if symbols.Func(addr) != fn {
				t.Fatal("the function changed while its code object lived")
			}
			if reused == 10 {
				return
			}
			child.Say("")
			text = child.Line()
		}
		t.Errorf("%d addresses were used again, want 10", reused)
	})
}

func TestUnreadable(t *testing.T) {
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		_, _, process, symbols := start(t, python, "reuse.py")
		for _, addr := range []uint64{0, 1, 1 << 63, process.Python.Runtime, process.Python.CodeType} {
			if got := symbols.Func(addr); got != Unknown {
				t.Errorf("Func(%#x) = %+v, want Unknown", addr, got)
			}
			if got := symbols.LineOf(Unknown, addr, addr); got != 0 {
				t.Errorf("LineOf(%#x) = %d, want 0", addr, got)
			}
		}
	})
}

// A layout that does not fit must be an error, whichever part of it is wrong.
func TestWrongLayout(t *testing.T) {
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		_, _, process, symbols := start(t, python, "reuse.py")
		for name, spoil := range map[string]func(*Layout){
			"InterpHead":   func(l *Layout) { l.InterpHead += 16 },
			"ThreadsHead":  func(l *Layout) { l.ThreadsHead -= 8 },
			"ThreadNext":   func(l *Layout) { l.ThreadNext = l.ThreadInterp },
			"ThreadFrame":  func(l *Layout) { l.ThreadFrame = l.ThreadInterp },
			"FramePrev":    func(l *Layout) { l.FramePrev = l.FrameCode },
			"FrameCode":    func(l *Layout) { l.FrameCode += 8 },
			"CodeFilename": func(l *Layout) { l.CodeFilename -= 16 },
			"CodeName":     func(l *Layout) { l.CodeName, l.CodeQualname = 8, 8 },
			"StrState":     func(l *Layout) { l.StrState = 0 },
		} {
			wrong := *symbols.layout
			spoil(&wrong)
			p := &Python{mem: symbols.mem, layout: &wrong, codeType: symbols.codeType, strType: symbols.strType, paths: symbols.paths}
			if err := p.check(process.Python.Runtime, false); err == nil {
				t.Errorf("a wrong %s passes the check", name)
			}
		}
	})
}

// The table's row for a version whose processes tell their own offsets must agree with them.
func TestDebugOffsetsAgree(t *testing.T) {
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		_, _, process, symbols := start(t, python, "reuse.py")
		for _, row := range layouts {
			row.Source = symbols.layout.Source
			row.InterpSize = symbols.layout.InterpSize // it may grow from one patch to the next
			if row.InterpHead == NoOffset {
				row.InterpHead = symbols.layout.InterpHead
			}
			if row.Minor == python.Minor && row.FreeThreaded == process.Python.FreeThreaded && row != *symbols.layout {
				t.Errorf("table %+v\nprocess %+v", row, *symbols.layout)
			}
		}
		if got := process.Python.Runtime + uint64(symbols.layout.InterpHead); got != process.Python.Interpreters {
			t.Errorf("interpreters.head at %#x by the layout, %#x by target", got, process.Python.Interpreters)
		}
	})
}

func TestHitsDoNotAllocate(t *testing.T) {
	python := targettest.Interpreters(t)[0]
	_, text, _, symbols := start(t, python, "reuse.py")
	var addr uint64
	fmt.Sscan(text, &addr)
	instr := uint64(0)
	if !symbols.layout.FrameIsObject {
		instr = addr + uint64(symbols.layout.CodeInstrs)
	}
	fn := symbols.Func(addr)
	if symbols.LineOf(fn, addr, instr) == 0 {
		t.Error("no line")
	}
	if n := testing.AllocsPerRun(100, func() { symbols.LineOf(symbols.Func(addr), addr, instr) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// From exec on, symbols are not ready or right: a process that is starting must not pass for one of a wrong layout.
func TestStarting(t *testing.T) {
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		for range 5 {
			child := targettest.Start(t, exec.Command(python.Path, "-c", "import json, asyncio; input()"))
			for {
				process, err := target.Inspect(child.Process.Pid)
				if err == nil {
					_, err = NewPython(process, nil)
				}
				if err == nil {
					break
				}
				if !errors.Is(err, target.ErrNotReady) {
					t.Fatal(err)
				}
			}
		}
	})
}
