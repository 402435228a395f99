package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// Frame is a node of a record's tree, whichever mapper wrote it.
type Frame struct {
	Function  string             `json:"function"`
	File      string             `json:"file_path"`
	ShortFile string             `json:"file_path_short"`
	Line      int                `json:"line_no"`
	Time      float64            `json:"time"`
	App       bool               `json:"is_application_code"`
	Depth     int                `json:"depth"`
	Children  []*Frame           `json:"children"`
	Lines     map[string]float64 `json:"lines"`
}

// name is the function's own name, without what it is nested in.
func (f *Frame) name() string { return f.Function[strings.LastIndexByte(f.Function, '.')+1:] }

func (f *Frame) bracketed() bool { return strings.HasPrefix(f.Function, "[") }

// library tells code of C's in a Go program, of which the file is told that it is in.
func (f *Frame) library() bool { return f.Function == "[cgo]" || strings.Contains(f.Function, ".so") }

// list gives the frames as tree2list wrote them.
func (r *Record) list(t testing.TB) (frames []*Frame) {
	t.Helper()
	if err := json.Unmarshal(r.Stacktrace.RootFrame, &frames); err != nil {
		t.Fatalf("%v: %s", err, r.raw)
	}
	return frames
}

// tree nests the frames of an unfiltered list, which has one root: every frame takes those before it that are deeper.
func (r *Record) tree(t testing.TB) *Frame {
	t.Helper()
	if len(r.Stacktrace.RootFrame) > 0 && r.Stacktrace.RootFrame[0] == '{' {
		root := new(Frame)
		if err := json.Unmarshal(r.Stacktrace.RootFrame, root); err != nil {
			t.Fatalf("%v: %s", err, r.raw)
		}
		return root
	}
	var open []*Frame
	for _, f := range r.list(t) {
		first := len(open)
		for first > 0 && open[first-1].Depth > f.Depth {
			first--
		}
		f.Children = slices.Clone(open[first:])
		open = append(open[:first], f)
	}
	if len(open) != 1 || open[0].Depth != 0 {
		t.Fatalf("not one root at depth 0: %s", r.raw)
	}
	return open[0]
}

// walk visits every frame with those above it, outermost first.
func (f *Frame) walk(visit func(f *Frame, above []*Frame)) { f.walkBelow(nil, visit) }

func (f *Frame) walkBelow(above []*Frame, visit func(*Frame, []*Frame)) {
	visit(f, above)
	above = append(slices.Clip(above), f)
	for _, child := range f.Children {
		child.walkBelow(above, visit)
	}
}

// inclusive gives seconds by function name, outermost calls of the request's own lane only.
func (f *Frame) inclusive() map[string]float64 {
	seconds := map[string]float64{}
	f.walk(func(f *Frame, above []*Frame) {
		if slices.ContainsFunc(above, (*Frame).branch) {
			return // it runs beside the functions that are measured
		}
		recursive := slices.ContainsFunc(above, func(a *Frame) bool { return a.name() == f.name() })
		if !f.bracketed() && !recursive {
			seconds[f.name()] += f.Time
		}
	})
	return seconds
}

// under gives the seconds of a leaf that stands directly under a function.
func (f *Frame) under(function, leaf string) (seconds float64) {
	f.walk(func(f *Frame, above []*Frame) {
		if f.Function == leaf && len(above) > 0 && above[len(above)-1].name() == function {
			seconds += f.Time
		}
	})
	return seconds
}

// total gives the seconds of a leaf in the own lane below a frame.
func (f *Frame) total(leaf string) (seconds float64) {
	f.ownLane(func(f *Frame, own float64) {
		if f.Function == leaf {
			seconds += own
		}
	})
	return seconds
}

// find gives the outermost frame of a function, nil if there is none.
func (f *Frame) find(function string) (found *Frame) {
	f.walk(func(f *Frame, _ []*Frame) {
		if found == nil && f.name() == function {
			found = f
		}
	})
	return found
}

// branch tells a frame that stands for work beside the request's own lane.
func (f *Frame) branch() bool {
	return f.Function == "[task]" || f.Function == "[thread]" || f.Function == "[greenlet]" || f.Function == "[goroutine]"
}

// ownLane visits the frames of the request's own lane with the seconds that they took themselves.
func (f *Frame) ownLane(visit func(f *Frame, own float64)) {
	own := f.Time
	for _, child := range f.Children {
		if !child.branch() {
			own -= child.Time
			child.ownLane(visit)
		}
	}
	visit(f, own)
}

// count is how many frames of a function there are.
func (f *Frame) count(function string) (n int) {
	f.walk(func(f *Frame, _ []*Frame) {
		if f.name() == function {
			n++
		}
	})
	return n
}

// String draws the tree.
func (f *Frame) String() string {
	var text strings.Builder
	f.walk(func(f *Frame, above []*Frame) {
		fmt.Fprintf(&text, "%s%s %.6f %s:%d\n", strings.Repeat("  ", len(above)), f.Function, f.Time, f.ShortFile, f.Line)
	})
	return text.String()
}

// rounding is what a sum of times may be off by: half a microsecond each.
func rounding(terms int) float64 { return 0.5e-6*float64(terms+1) + 1e-9 }

// checkSums holds every unfiltered sampled record against the rules about sums.
func checkSums(t testing.TB, records ...*Record) {
	t.Helper()
	for _, r := range records {
		if !r.sampled() {
			continue
		}
		root := r.tree(t)
		duration := r.Stacktrace.Duration
		if math.Abs(root.Time-duration) > rounding(1) || r.Request.Duration != duration {
			t.Errorf("root %.6f and request %.6f of duration %.6f: %s\n%s", root.Time, r.Request.Duration, duration, r, r.raw)
		}
		cpu, told := 0.0, 0.0
		for _, seconds := range r.Request.Blocked {
			told += seconds
		}
		root.ownLane(func(f *Frame, own float64) {
			if own < -rounding(len(f.Children)) {
				t.Errorf("callees of %s take %.6f more than its %.6f: %s\n%s", f.Function, -own, f.Time, r, root)
			}
			if f.Function == "[not sampled]" {
				told += f.Time
			}
			if !f.bracketed() || f.Function == "[unknown]" || f.Function == "[truncated]" || f.Function == "[request]" || f.library() {
				cpu += own
			}
		})
		slack := max(0.001*duration, 1e-4)
		if math.Abs(cpu+told-duration) > slack || r.Stacktrace.CPUTime < cpu-slack {
			t.Errorf("on a CPU %.6f (of %.6f), blocked or not sampled %.6f, of %.6f: %s\n%s", cpu, r.Stacktrace.CPUTime, told, duration, r, r.raw)
		}
	}
}
