package symbol

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"apm-ebpf/internal/target"
	"apm-ebpf/internal/target/targettest"
)

// goService is a running Go program.
type goService struct {
	*targettest.Child
	process *target.Process
	symbols *Go
}

// startGo builds a program of targettest's testdata, by its name, and waits until it says that it is ready.
func startGo(t *testing.T, name string, toolchain targettest.Toolchain, build targettest.Build) *goService {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(goPrograms, name))
	if err != nil {
		t.Fatal(err)
	}
	child := targettest.Start(t, exec.Command(toolchain.BuildGo(t, dir, build)))
	child.Line()
	process, err := target.Inspect(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := NewGo(process)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(symbols.Close)
	return &goService{child, process, symbols}
}

func (s *goService) ask(t *testing.T, command string, answer any) {
	t.Helper()
	s.Say(command)
	if err := json.Unmarshal([]byte(s.Line()), answer); err != nil {
		t.Fatal(err)
	}
}

// toldFrame is a frame as the service's own runtime tells it.
type toldFrame struct {
	PC       uint64
	Function string
	File     string
	Line     int32
}

func TestGo(t *testing.T) {
	for _, toolchain := range targettest.Toolchains(t) {
		for _, build := range toolchain.Builds() {
			if build.Runs() {
				t.Run(toolchain.Version+"_"+build.Name, func(t *testing.T) {
					s := startGo(t, "goservice", toolchain, build)
					t.Run("stacks", func(t *testing.T) { testGoStacks(t, s) })
					t.Run("places", func(t *testing.T) { testGoPlaces(t, s) })
				})
			}
		}
	}
}

// Stacks must be those that the runtime gives to the program itself.
func testGoStacks(t *testing.T, s *goService) {
	var stacks [][]toldFrame
	s.ask(t, "stacks", &stacks)
	seen := map[*Func]string{}
	for _, stack := range stacks {
		for i := 0; i < len(stack); {
			frames := s.symbols.Frames(stack[i].PC, true)
			if stack[i].Function == "runtime.goexit" {
				if len(frames) > 0 {
					t.Errorf("%s is shown", frames[0].Func.Name)
				}
				break
			}
			if len(frames) == 0 || i+len(frames) > len(stack) {
				t.Fatalf("%d frames at %+v", len(frames), stack[i])
			}
			for n, f := range frames {
				want := stack[i+n]
				if f.Func.Name != want.Function || f.Func.File != want.File || f.Line != want.Line {
					t.Errorf("%#x: %s at %s:%d, want %+v", want.PC, f.Func.Name, f.Func.File, f.Line, want)
				}
				if known := seen[f.Func]; known != "" && known != want.Function {
					t.Errorf("%s and %s are one function", known, want.Function)
				}
				seen[f.Func] = want.Function
			}
			i += len(frames)
		}
	}
	names := map[string]*Func{}
	for f, name := range seen {
		if other := names[name]; other != nil {
			t.Errorf("two functions are %s: %+v and %+v", name, other, f)
		}
		names[name] = f
	}
	for name, want := range map[string]struct {
		file, text string
		app        bool
	}{
		"main.inner":                    {"main.go", "func inner(", true},
		"main.deferred.func1":           {"main.go", "defer func() {", true},
		storeName + "Each[...]":         {"internal/store/store.go", "func Each[", true},
		storeName + "(*Shelf[...]).Put": {"internal/store/store.go", "func (s *Shelf[T]) Put(", true},
		"runtime.main":                  {"runtime/proc.go", "", false},
	} {
		got := names[name]
		if got == nil || got.ShortFile != want.file || got.App != want.app {
			t.Errorf("%s is %+v, want %+v", name, got, want)
		} else if line := lineOf(t, want.file, want.text); want.app && got.Line != line {
			t.Errorf("%s begins in line %d, want %d", name, got.Line, line)
		}
	}
}

const (
	goPrograms = "../target/targettest/testdata"
	storeName  = "example.com/shop/v2/internal/store."
)

// lineOf gives the line of the service's source that holds a text.
func lineOf(t *testing.T, file, text string) int {
	t.Helper()
	source, _ := os.ReadFile(filepath.Join(goPrograms, "goservice", file))
	before, _, _ := strings.Cut(string(source), text)
	return strings.Count(before, "\n") + 1
}

// The innermost function, file and line must be the runtime's own, wherever in the program.
func testGoPlaces(t *testing.T, s *goService) {
	table, bias := s.symbols.table, s.process.Go.Bias
	var pcs []string
	for pc := table.Text; pc < table.TextEnd; pc += 331 {
		if f, ok := table.Find(pc); ok && table.Depth(&f, pc) >= 0 {
			pcs = append(pcs, fmt.Sprintf("%x", pc+bias))
		}
	}
	var told []toldFrame
	s.ask(t, "at "+strings.Join(pcs, " "), &told)
	inlined, elsewhere, wrong := 0, 0, 0
	for _, want := range told {
		f, _ := table.Find(want.PC - bias)
		places := table.Places(&f, want.PC-bias)
		if len(places) > 1 {
			inlined++
		}
		p := places[0]
		name, file := goName(table.Name(p.Name)), table.File(p.File)
		if p.Name == 0 && want.Function == "" { // the runtime takes offset 0 for no name (moduledata.funcName)
			continue
		}
		if file != want.File && p.Line == 0 { // what is left of an inlined function
			elsewhere++
			continue
		}
		if (name != want.Function || file != want.File || p.Line != want.Line) && wrong < 10 {
			wrong++
			t.Errorf("%#x: %s at %s:%d, want %+v", want.PC, name, file, p.Line, want)
		}
	}
	t.Logf("%d places, %d of them inlined, %d in no line of their function's file", len(told), inlined, elsewhere)
	if len(told) < 1000 || inlined < 100 || elsewhere > len(told)/40 {
		t.Error("too few to tell anything")
	}
}

// What is not Go's tells which file it is from.
func TestGoOutside(t *testing.T) {
	build := targettest.Build{Name: "cgo", Args: []string{"-ldflags=-linkmode=external"}, Env: []string{"CGO_ENABLED=1"}}
	s := startGo(t, "gothreads", targettest.Toolchains(t)[0], build)
	code, err := s.process.Code()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, c := range code {
		pc := c.Start + 64 // what the linker puts there is C's
		if frames := s.symbols.Frames(pc, true); len(frames) == 1 {
			found[frames[0].Func.Name] = true
		}
		if s.symbols.SPDelta(pc) != -1 {
			t.Errorf("the depth of the stack is told in %s", c.Name)
		}
	}
	for _, want := range []string{"[cgo]", "[libc.so.6]"} {
		if !found[want] {
			t.Errorf("no %s in %v", want, found)
		}
	}
	for _, pc := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
		if frames := s.symbols.Frames(pc, true); len(frames) != 1 || frames[0].Func != Unknown {
			t.Errorf("%#x: %+v", pc, frames)
		}
	}
}
