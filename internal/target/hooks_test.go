package target

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// loadAsyncio imports asyncio when it is told to and prints the addresses of what it made of it.
const loadAsyncio = `
import json, sys
print(json.dumps("_asyncio" in sys.builtin_module_names), flush=True)
input()
import asyncio, _asyncio
loop = asyncio.new_event_loop()
future = loop.create_future()
async def work():
    await future
coroutine = work()
task = loop.create_task(coroutine)
step = loop._ready[-1]._callback
loop.call_soon(loop.stop)
loop.run_forever()
wakeup = future._callbacks[0]
if isinstance(wakeup, tuple):
    wakeup = wakeup[0]
assert type(task) is _asyncio.Task, type(task)
print(json.dumps({"Task": id(task), "TaskType": id(type(task)), "Step": id(step), "StepType": id(type(step)),
                  "Wakeup": id(wakeup), "WakeupType": id(type(wakeup)), "Wraps": "Wrapper" in type(wakeup).__name__}), flush=True)
input()
`

type asyncioTruth struct {
	Task, TaskType, Step, StepType, Wakeup, WakeupType uint64
	Wraps                                              bool
}

// answer decodes the next line of a child.
func answer(t *testing.T, child *targettest.Child, to any) {
	t.Helper()
	if line := child.Line(); json.Unmarshal([]byte(line), to) != nil {
		t.Fatalf("the child prints %q", line)
	}
}

func word(t *testing.T, p *Process, addr uint64) uint64 {
	t.Helper()
	value, err := Memory(p.PID).word(addr)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// samePlace tells whether a file offset is where the process has the function at addr, but for a landing mark.
func samePlace(t *testing.T, p *Process, f ProbeFile, offset, addr uint64) bool {
	t.Helper()
	maps, err := p.Mappings()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range maps {
		if addr >= m.Start && addr < m.End {
			want := addr - m.Start + m.Offset
			return m.Inode == f.Inode && strings.Contains(m.Perm, "x") && (offset == want || offset == want+4)
		}
	}
	return false
}

// firstInstruction reads what a probe would replace.
func firstInstruction(t *testing.T, f ProbeFile, offset uint64) []byte {
	t.Helper()
	file, err := os.Open(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text := make([]byte, 2)
	if _, err := file.ReadAt(text, int64(offset)); err != nil {
		t.Fatal(err)
	}
	return text
}

// isSub tells sub $n,%rsp, with which a function begins that saves no register.
func isSub(text []byte) bool { return bytes.HasPrefix(text, []byte{0x48, 0x83}) }

// isPush tells push of a 64-bit register, with or without the prefix for r8 to r15.
func isPush(text []byte) bool {
	if text[0] == 0x41 {
		text = text[1:]
	}
	return text[0]&^7 == 0x50
}

// checkAsyncio compares what was found with what the process has in its types.
func checkAsyncio(t *testing.T, p *Process, a *Asyncio, truth asyncioTruth) {
	t.Helper()
	header := p.Python.header()
	name := header + typeName
	if size := word(t, p, truth.TaskType+name+typeSize); uint64(a.TaskSize) != size {
		t.Errorf("tasks of %d bytes, want %d", a.TaskSize, size)
	}
	wakeup := word(t, p, truth.WakeupType+name+tpCall.offset)
	if !truth.Wraps {
		wakeup = word(t, p, word(t, p, truth.Wakeup+header)+8) // PyCFunctionObject.m_ml, PyMethodDef.ml_meth
	} else if word(t, p, truth.Wakeup+header) != truth.Task {
		t.Error("the task of the wake-up wrapper does not follow its head")
	}
	if word(t, p, truth.Step+header) != truth.Task {
		t.Error("the task of the step wrapper does not follow its head")
	}
	for _, hook := range []struct {
		name       string
		found, has uint64
	}{
		{"TaskInit", a.TaskInit, word(t, p, truth.TaskType+name+tpInit.offset)},
		{"TaskStep", a.TaskStep, word(t, p, truth.StepType+name+tpCall.offset)},
		{"TaskWakeup", a.TaskWakeup, wakeup},
	} {
		if !samePlace(t, p, a.ProbeFile, hook.found, hook.has) {
			t.Errorf("%s at offset %#x of %s, the process has it at %#x", hook.name, hook.found, a.Path, hook.has)
		}
		text := firstInstruction(t, a.ProbeFile, hook.found)
		t.Logf("%s %#x % x", hook.name, hook.found, text)
		if machine(t, a.Path) == elf.EM_X86_64 && !isPush(text) && !isSub(text) {
			t.Errorf("%s begins with % x, neither a push nor a sub", hook.name, text)
		}
	}
}

func machine(t *testing.T, path string) elf.Machine {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return f.Machine
}

func TestAsyncio(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			child := targettest.Start(t, exec.Command(python.Path, "-c", loadAsyncio))
			var builtin bool
			answer(t, child, &builtin)
			p := inspect(t, child.Process.Pid)
			a, err := p.Asyncio()
			if err != nil || (a != nil) != builtin {
				t.Fatalf("before the import: %+v, %v", a, err)
			}
			if loaded, err := laneModules(p); loaded.Asyncio || err != nil {
				t.Errorf("LaneModules before the import: %+v, %v", loaded, err)
			}
			child.Say("import")
			var truth asyncioTruth
			answer(t, child, &truth)
			if loaded, err := laneModules(p); loaded.Asyncio == builtin || loaded.Greenlet || err != nil {
				t.Errorf("LaneModules after the import: %+v, %v", loaded, err)
			}
			if a, err = p.Asyncio(); err != nil || a == nil {
				t.Fatalf("after the import: %+v, %v", a, err)
			}
			defer a.Close()
			checkAsyncio(t, p, a, truth)
		})
	}
}

// A package upgrade replaces the module of a running service.
func TestAsyncioReplaced(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		out, err := exec.Command(python.Path, "-c", "import _asyncio; print(getattr(_asyncio, '__file__', ''))").Output()
		original := strings.TrimSpace(string(out))
		if err != nil || original == "" {
			continue
		}
		copied := copyExecutable(t, original)
		command := exec.Command(python.Path, "-c", loadAsyncio)
		command.Env = append(os.Environ(), "PYTHONPATH="+filepath.Dir(copied))
		child := targettest.Start(t, command)
		child.Line()
		child.Say("import")
		var truth asyncioTruth
		answer(t, child, &truth)
		if err := os.Remove(copied); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, []byte("another file"), 0o755); err != nil {
			t.Fatal(err)
		}
		p := inspect(t, child.Process.Pid)
		a, err := p.Asyncio()
		if errors.Is(err, os.ErrPermission) || err != nil && os.Getuid() != 0 {
			t.Skipf("/proc/PID/map_files needs root: %v", err)
		}
		if err != nil || a == nil {
			t.Fatalf("%s: %+v, %v", python.Path, a, err)
		}
		checkAsyncio(t, p, a, truth)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	t.Skip("every Python here has _asyncio built in")
}

const loadGreenlet = `
import greenlet
child = greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch())
child.switch()
print(id(greenlet.greenlet), flush=True)
input()
`

// greenlets installs greenlet for the interpreter into the user's cache, once, and gives the directory.
func greenlets(t *testing.T, python targettest.Interpreter) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "apm-ebpf", "greenlet", python.String())
	if _, err := os.Stat(filepath.Join(dir, "greenlet")); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Skip(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "new")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(fresh)
	out, err := exec.Command(python.Path, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "0",
		"--only-binary", ":all:", "--target", fresh, "greenlet>=2").CombinedOutput()
	if err != nil {
		t.Skipf("greenlet cannot be installed: %v: %s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	return dir
}

func TestGreenlet(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			command := exec.Command(python.Path, "-c", loadGreenlet)
			command.Env = append(os.Environ(), "PYTHONPATH="+greenlets(t, python))
			child := targettest.Start(t, command)
			var class uint64
			answer(t, child, &class)
			p := inspect(t, child.Process.Pid)
			if loaded, err := laneModules(p); loaded.Asyncio || !loaded.Greenlet || err != nil {
				t.Errorf("LaneModules: %+v, %v", loaded, err)
			}
			g, err := p.Greenlet()
			if err != nil || g == nil {
				t.Fatalf("%+v, %v", g, err)
			}
			defer g.Close()
			reference, err := elf.Open(g.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer reference.Close()
			symbols, err := reference.DynamicSymbols()
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == switchStack })
			text := reference.Section(".text")
			if want := symbols[i].Value - text.Addr + text.Offset; g.Switch != want && g.Switch != want+4 {
				t.Errorf("switch at offset %#x, want %#x", g.Switch, want)
			}
			if init := word(t, p, class+p.Python.header()+280); !samePlace(t, p, g.ProbeFile, g.Init, init) {
				t.Errorf("tp_init at offset %#x, the process has it at %#x", g.Init, init)
			}
			for _, offset := range []uint64{g.Init, g.Switch} {
				first := firstInstruction(t, g.ProbeFile, offset)
				t.Logf("%#x % x", offset, first)
				if reference.Machine == elf.EM_X86_64 && !isPush(first) {
					t.Errorf("%#x begins with % x, not with a push", offset, first)
				}
			}
		})
	}
}

func TestGreenletAbsent(t *testing.T) {
	child := targettest.Start(t, exec.Command(targettest.Interpreters(t)[0].Path, "-c", printVersion))
	child.Line()
	if g, err := inspect(t, child.Process.Pid).Greenlet(); g != nil || err != nil {
		t.Errorf("%+v, %v, want nothing", g, err)
	}
}

// TestGreenletIn finds the modules of greenlet by the names that they have had.
func TestGreenletIn(t *testing.T) {
	for path, want := range map[string]bool{
		"/site-packages/greenlet/_greenlet.cpython-311-x86_64-linux-gnu.so": true,
		"/dist-packages/greenlet.cpython-39-x86_64-linux-gnu.so":            true,
		"/site-packages/gevent/_gevent_cgreenlet.cpython-311-x86_64.so":     false,
	} {
		if _, got := greenletIn([]Mapping{{Path: path, Perm: "r-xp"}}); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func laneModules(p *Process) (Modules, error) {
	maps, err := p.Mappings()
	return LaneModules(maps), err
}
