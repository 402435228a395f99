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

// goService is a running testdata/goservice of package targettest.
type goService struct {
	*targettest.Child
	process *target.Process
	symbols *Go
}

func startGo(t *testing.T, toolchain targettest.Toolchain, build targettest.Build) *goService {
	t.Helper()
	dir, err := filepath.Abs(goServiceDir)
	if err != nil {
		t.Fatal(err)
	}
	child := targettest.Start(t, exec.Command(toolchain.BuildGo(t, dir, build)))
	if got := child.Line(); got != "ready "+toolchain.Version {
		t.Fatalf("the service says %q", got)
	}
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

func eachGo(t *testing.T, test func(t *testing.T, s *goService)) {
	for _, toolchain := range targettest.Toolchains(t) {
		for _, build := range toolchain.Builds() {
			if build.Runs() {
				t.Run(toolchain.Version+"_"+build.Name, func(t *testing.T) { test(t, startGo(t, toolchain, build)) })
			}
		}
	}
}

// Stacks must be those that the runtime gives to the program itself.
func TestGoStacks(t *testing.T) {
	eachGo(t, func(t *testing.T, s *goService) {
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
	})
}

const (
	goServiceDir = "../target/targettest/testdata/goservice"
	storeName    = "example.com/shop/v2/internal/store."
)

// lineOf gives the line of the service's source that holds a text.
func lineOf(t *testing.T, file, text string) int {
	t.Helper()
	source, _ := os.ReadFile(filepath.Join(goServiceDir, file))
	before, _, _ := strings.Cut(string(source), text)
	return strings.Count(before, "\n") + 1
}

// The innermost function, file and line must be the runtime's own, wherever in the program.
func TestGoPlaces(t *testing.T) {
	eachGo(t, func(t *testing.T, s *goService) {
		table, bias := s.symbols.table, s.process.Go.Bias
		var pcs []string
		for pc := table.Text + 331; pc < table.TextEnd; pc += 331 {
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
		if len(told) < 1000 || inlined < 100 || elsewhere > len(told)/100 {
			t.Error("too few to tell anything")
		}
	})
}
