package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestCalls compares stacks with what a traceback shows, function by function and line by line: called by Python and by C,
// by every kind of function, generator and coroutine, under a debugger and in a signal's handler.
func TestCalls(t *testing.T) {
	type place struct {
		function, file string
		first          int
	}
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "calls")
		a := attach(t, s.PID, "--lines")
		s.get(t, "/")
		var seen [][][4]any // stacks, outermost first
		if err := json.Unmarshal([]byte(s.get(t, "/").Text), &seen); err != nil {
			t.Fatal(err)
		}
		if len(seen) < 40 {
			t.Fatalf("only %d stacks", len(seen))
		}
		tree := a.exactly(t, 2)[1].tree(t)
		for _, stack := range seen {
			at, frames := []*Frame{{Children: []*Frame{tree}}}, 0
			for _, told := range stack {
				want := place{told[0].(string), told[1].(string), int(told[2].(float64))}
				var next []*Frame
				for _, f := range at {
					for _, child := range f.Children {
						if (place{child.Function, child.File, child.Line}) == want && child.Lines[fmt.Sprint(told[3])] > 0.004 {
							next = append(next, child)
						}
					}
				}
				if len(next) == 0 {
					t.Errorf("no %v after %d frames of %v", told, frames, stack)
					break
				}
				at, frames = next, frames+1
			}
		}
		if t.Failed() {
			t.Log(tree)
		}
	})
}

// TestSubInterpreters has a thread call functions of another interpreter: it has a stack in each.
func TestSubInterpreters(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
		if !python.has("_interpreters") && !python.has("_xxsubinterpreters") {
			t.Skip("no sub-interpreters for programs")
		}
		s := gunicorn(t, python, "interpreters")
		a := attach(t, s.PID)
		s.get(t, "/")
		s.get(t, "/")
		for _, r := range a.exactly(t, 2) {
			checkSums(t, r)
			slept := map[string]float64{}
			r.tree(t).walk(func(f *Frame, above []*Frame) {
				for i, from := len(above)-1, f; i >= 0 && f.Function == "[sleep]"; i, from = i-1, above[i] {
					slept[above[i].name()+" "+from.name()] += f.Time
				}
			})
			for _, want := range []string{"app outside", "outside <module>", "<module> inside", "inside [sleep]"} {
				if slept[want] < 0.049 {
					t.Errorf("sleeps %.6f as %s, want 0.05:\n%s", slept[want], want, r.tree(t))
				}
			}
			if slept["app alone"] < 0.029 {
				t.Errorf("sleeps %.6f beside an idle interpreter, want 0.03:\n%s", slept["app alone"], r.tree(t))
			}
			hasOwn := python.Minor >= 12 && !strings.HasSuffix(python.Version, "t") // free-threaded ones have none
			if contend := r.tree(t).find("contend"); hasOwn && (contend == nil || contend.total("[gil]") < 0.004) {
				t.Errorf("no wait for an interpreter's own lock:\n%s", r.tree(t))
			}
		}
	})
}
