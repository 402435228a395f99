package goroutine

import (
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"apm-ebpf/internal/target/targettest"
)

// TestReader reads programs of every Go that is found.
func TestReader(t *testing.T) {
	for _, toolchain := range targettest.Toolchains(t) {
		t.Run(toolchain.Version, func(t *testing.T) {
			exe := toolchain.BuildGo(t, "testdata/parked", targettest.Build{})
			for name, test := range map[string]func(*testing.T, *parked){
				"stacks": testStacks, "changes": testChanges, "left": testLeft, "started": testStarted, "interrupted": testInterrupted,
				"frameless": testFrameless,
			} {
				t.Run(name, func(t *testing.T) { test(t, startParked(t, exe, toolchain.Minor)) })
			}
		})
	}
}

// traceback is what Go prints of a goroutine: why it waits, and the functions that are not inlined nor the runtime's.
type traceback struct {
	state     string
	functions []string
}

var goroutineLine = regexp.MustCompile(`^goroutine (\d+)[^\[]* \[([^],]*)`)

func tracebacks(p *parked) map[string]*traceback {
	found := map[string]*traceback{}
	names := map[uint64]string{}
	for name, id := range p.ids {
		names[id] = name
	}
	var at *traceback
	for _, line := range p.do("dump") {
		if m := goroutineLine.FindStringSubmatch(line); m != nil {
			_, id := p.number("goroutine " + m[1])
			at = &traceback{state: m[2]}
			found[names[id]] = at
			continue
		}
		switch {
		case line == "" || line[0] == '\t' || strings.HasPrefix(line, "created by") || strings.HasSuffix(line, "(...)") || strings.HasPrefix(line, "..."):
		case !strings.HasPrefix(line, "runtime."):
			at.functions = append(at.functions, line[:strings.LastIndexByte(line, '(')])
		}
	}
	return found
}

// testStacks compares what is read from outside with what Go prints of the same goroutines.
func testStacks(t *testing.T, p *parked) {
	told := map[uint64]Sight{}
	lookUntil(t, p.reader(slices.Collect(maps.Keys(p.ids))...), func(news map[uint64]Sight) bool {
		maps.Copy(told, news)
		for name, id := range p.ids {
			if state := told[id].State; name != "handler" && name != "spins" && state != Waiting && state != Syscall {
				return false
			}
		}
		return true
	})
	for name, want := range tracebacks(p) {
		s, ok := told[p.ids[name]]
		if name == "" || name == "handler" || name == "spins" { // printing stops it
			continue
		}
		if !ok {
			t.Errorf("%s: not told", name)
			continue
		}
		if got := stateText(s); got != want.state {
			t.Errorf("%s: %s, Go prints %s", name, got, want.state)
		}
		if s.Truncated || (s.Gap != 0) != (name == "deeper") {
			t.Errorf("%s: truncated: %v, a gap after %d", name, s.Truncated, s.Gap)
		}
		got := p.functions(s.PCs)
		if strings.HasPrefix(name, "deep") { // Go leaves functions out too, up to 1.20 the outermost ones
			if outermost := got[len(got)-1]; outermost != "main.start.func1" {
				t.Errorf("%s: outermost is %s", name, outermost)
			}
			got, want.functions = got[:20], want.functions[:20]
		}
		if !slices.Equal(got, want.functions) {
			t.Errorf("%s: functions\n%v\nGo prints\n%v", name, got, want.functions)
		}
	}
	if s := told[p.ids["spins"]]; s.State != Running && s.State != Runnable {
		t.Errorf("spins: %s", s.State)
	}
	if n := len(told[p.ids["deep"]].PCs); n < 100 {
		t.Errorf("deep: %d functions", n)
	}
	if n := len(told[p.ids["deeper"]].PCs); n != framesLeaf+framesRoot {
		t.Errorf("deeper: %d functions", n)
	}
}

// stateText tells a state as Go prints it.
func stateText(s Sight) string {
	if s.State == Waiting {
		return s.Why
	}
	return s.State.String()
}

// testChanges has one goroutine go on while others stay where they are.
func testChanges(t *testing.T, p *parked) {
	r := p.reader("sleeps", "receives", "steps", "spins")
	var before, now Sight
	parked := func(told map[uint64]Sight) bool {
		now = told[p.ids["steps"]]
		return now.State == Waiting && len(now.PCs) > 0
	}
	lookUntil(t, r, parked)
	told := look(t, r)
	if delete(told, p.ids["spins"]); len(told) > 0 {
		t.Errorf("told again: %v", told)
	}
	for _, function := range []string{"main.stepSleeps", "main.steps", "main.stepSleeps"} {
		before = now
		began := monotonic()
		look(t, r)
		p.do("step")
		lookUntil(t, r, parked)
		if names := p.functions(now.PCs); names[0] != function {
			t.Errorf("parked in %v, not in %s", names, function)
		}
		if now.After < began || now.Time <= now.After || before.Time > began {
			t.Errorf("seen at %d, as before until %d, told to go on after %d", now.Time, now.After, began)
		}
	}
}

// testLeft counts how often a goroutine leaves off running between two looks.
func testLeft(t *testing.T, p *parked) {
	parked := func(told map[uint64]Sight) bool { return told[p.ids["steps"]].State == Waiting }
	r, often := p.reader("steps"), p.reader("steps")
	lookUntil(t, r, parked)
	lookUntil(t, often, parked)
	for n := range uint8(4) {
		for range n {
			p.do("step")
			lookUntil(t, often, parked)
		}
		if s := look(t, r)[p.ids["steps"]]; s.Left != n {
			t.Errorf("left %d times in %d steps", s.Left, n)
		}
	}
}

// testStarted follows what a handler starts, and what that starts.
func testStarted(t *testing.T, p *parked) {
	if p.layout.ParentGoID == NoOffset {
		t.Skip("this Go does not tell who started a goroutine")
	}
	r := p.reader("handler")
	look(t, r)
	for range 3 {
		names := map[uint64]string{}
		for _, line := range p.do("fan") {
			name, id := p.number(line)
			names[id] = name
		}
		running := map[uint64]bool{}
		lookUntil(t, r, func(told map[uint64]Sight) bool {
			for id, s := range told {
				if s.Parent != 0 && !running[id] {
					running[id] = true
					p.started(s, names)
				}
			}
			return len(running) == 40
		})
		p.do("end")
		lookUntil(t, r, func(told map[uint64]Sight) bool {
			for id, s := range told {
				if s.State == Dead {
					delete(running, id)
				}
			}
			return len(running) == 0
		})
	}
	p.do("fan")
	lookUntil(t, r, func(map[uint64]Sight) bool { return r.Watching() == 41 })
	r.Unwatch(p.ids["handler"])
	if look(t, r); r.Watching() != 0 {
		t.Errorf("%d goroutines are watched", r.Watching())
	}
	p.do("end")
	testStartedBefore(t, p)
}

// testStartedBefore has goroutines found that were started, and seen, before their starter is watched.
func testStartedBefore(t *testing.T, p *parked) {
	r := p.reader("sleeps")
	r.all.keep = uint64(time.Hour)
	look(t, r)
	p.do("fan")
	r.pace.credit = walkCredit
	look(t, r)
	r.Watch(p.ids["handler"], p.addresses()[p.ids["handler"]], 0)
	lookUntil(t, r, func(map[uint64]Sight) bool { return r.Watching() == 42 })
	p.do("end")
}

// started checks the first sight of a goroutine of those that the program named.
func (p *parked) started(s Sight, names map[uint64]string) {
	p.t.Helper()
	parent, statement := p.ids["handler"], "main.fan"
	if names[s.GoID] == "grandchild" {
		parent, statement = s.Parent, "main.child"
		if names[parent] != "child" {
			p.t.Errorf("grandchild %d was started by %d, %s", s.GoID, parent, names[parent])
		}
	}
	if s.Parent != parent || s.Root != p.ids["handler"] {
		p.t.Errorf("%s %d was started by %d for %d", names[s.GoID], s.GoID, s.Parent, s.Root)
	}
	if got := p.functions([]uint64{s.GoPC, s.StartPC + 1}); got[0] != statement || !strings.HasPrefix(got[1], "main.") {
		p.t.Errorf("%s was started in %s to run %s", names[s.GoID], got[0], got[1])
	}
	if s.After == 0 || s.Left != NotKnown {
		p.t.Errorf("%s came after %d, left %d times", names[s.GoID], s.After, s.Left)
	}
}

// testInterrupted looks at a goroutine without a frame of its own that a signal has leave off for another. Its caller is on
// the stack nevertheless.
func testInterrupted(t *testing.T, p *parked) {
	for range runtime.NumCPU() {
		p.number(p.do("spin")[0])
	}
	r := p.reader("spins")
	r.Interrupted = p.interrupted
	lookUntil(t, r, func(told map[uint64]Sight) bool {
		s := told[p.ids["spins"]]
		if s.State != Runnable || len(s.PCs) < 3 {
			return false
		}
		want := []string{"main.spins", "main.start.func1"}
		if got := p.functions(s.PCs); !slices.Equal(got, want) {
			t.Fatalf("interrupted in %q, want %q", got, want)
		}
		return true
	})
}

// testFrameless looks at a goroutine that leaves off for another before a function makes its frame. The caller is on the stack
// nevertheless.
func testFrameless(t *testing.T, p *parked) {
	for range runtime.NumCPU() {
		p.number(p.do("spin")[0])
	}
	name, id := p.number(p.do("call")[0])
	p.ids[name] = id
	r := p.reader(name)
	r.Interrupted = p.interrupted
	lookUntil(t, r, func(told map[uint64]Sight) bool {
		s := told[id]
		if s.State != Runnable || len(s.PCs) < 2 || len(p.functions(s.PCs[:1])) == 0 {
			return false // in asyncPreempt2
		}
		want := []string{"main.called", "main.calls", "main.start.func1"}
		if got := p.functions(s.PCs); !slices.Equal(got, want) {
			t.Fatalf("left off in %q, want %q", got, want)
		}
		return true
	})
}

// TestGone has goroutines and the process go away.
func TestGone(t *testing.T) {
	toolchain := targettest.Toolchains(t)[0]
	p := startParked(t, toolchain.BuildGo(t, "testdata/parked", targettest.Build{}), toolchain.Minor)
	r := p.reader("sleeps")
	at := p.addresses()
	const nobody = 1 << 40
	r.Watch(nobody, at[p.ids["receives"]], 0)
	r.Watch(nobody+1, 0x1000, 0)
	r.Watch(nobody+2, addressMax, 0)
	told := look(t, r)
	if told[nobody].State != Dead || told[p.ids["sleeps"]].State != Waiting || len(told) != 2 {
		t.Errorf("told %v", told)
	}
	p.Process.Kill()
	p.Wait()
	if err := r.Look(func(s *Sight) { t.Errorf("told %v", *s) }); err == nil {
		t.Error("a process that is gone was read")
	}
}

func TestLayoutOf(t *testing.T) {
	for minor := 20; minor <= 27; minor++ {
		if l, err := LayoutOf(minor); err != nil || l.Minor != minor {
			t.Errorf("1.%d: %v, %v", minor, l, err)
		}
	}
	for _, minor := range []int{19, 28} {
		if _, err := LayoutOf(minor); err == nil {
			t.Errorf("1.%d is known", minor)
		}
	}
}
