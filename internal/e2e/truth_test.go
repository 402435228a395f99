package e2e

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

// tolerance is how far the time of a function may be off: agent and service both read the wall clock.
func tolerance(truth float64) float64 { return max(0.002, 0.03*truth) }

// comparison counts functions whose times are right and notes the others.
type comparison struct {
	right int
	wrong []string
}

func (c *comparison) add(what string, got, want float64) {
	if math.Abs(got-want) <= tolerance(want) {
		c.right++
		return
	}
	c.wrong = append(c.wrong, fmt.Sprintf("%s: %.6f, in truth %.6f", what, got, want))
}

// check allows for one in twenty: the target may lose its CPU between looking at its clock and calling the function.
func (c *comparison) check(t *testing.T) {
	t.Helper()
	if 20*len(c.wrong) > c.right+len(c.wrong) {
		for _, text := range c.wrong {
			t.Error(text)
		}
		t.Errorf("%d function times are right, %d wrong", c.right, len(c.wrong))
	}
}

// TestFunctionTimes compares trees with what the functions themselves measured.
func TestFunctionTimes(t *testing.T) {
	views := []string{"doze", "receive", "acquire", "compute", "outer", "recurse", "consume", "rescue", "comprehend", "page", "drive", "lend"}
	onEachPython(t, func(t *testing.T, python Python) {
		for _, w := range workers {
			t.Run(w.name, func(t *testing.T) {
				s := gunicorn(t, python, "work", w.flags...)
				compareViews(t, s, attach(t, s.PID, "-F", "1000"), views)
			})
		}
	})
}

// compareViews asks for each view a few times.
func compareViews(t *testing.T, s *Service, a *Agent, views []string) {
	t.Helper()
	var answers []*Answer
	for range 4 {
		for _, view := range views {
			answers = append(answers, s.get(t, "/"+view))
		}
	}
	records := a.exactly(t, len(answers))
	checkSums(t, records...)
	for _, r := range records {
		if strings.HasPrefix(r.Request.Runtime, "go") {
			precise(r)
		}
	}
	var c comparison
	for _, answer := range answers {
		compareTimes(t, &c, byID(t, records)[answer.ID], answer.Truth)
	}
	c.check(t)
}

func compareTimes(t *testing.T, c *comparison, r *Record, truth map[string]float64) {
	t.Helper()
	if r == nil {
		t.Fatal("a request has no record")
	}
	if r.Request.Lost > 0 || len(r.Request.Incomplete) > 0 {
		t.Errorf("tells less than the whole: %s", r)
	}
	seconds := r.tree(t).inclusive()
	for _, name := range slices.Sorted(maps.Keys(truth)) {
		if name == "wait" || name == "[task]" { // no function, but a part of one; not of the request's own lane
			continue
		}
		c.add(r.Endpoint+" "+name, seconds[name], truth[name])
	}
}

// TestLoopOfAHandler has a view run an event loop: its task is a branch of the request.
func TestLoopOfAHandler(t *testing.T) {
	s := gunicorn(t, anyPython(t), "work")
	a := attach(t, s.PID, "-F", "1000")
	var c comparison
	var truth []map[string]float64
	for range 10 {
		truth = append(truth, s.get(t, "/drive").Truth)
	}
	for i, r := range a.exactly(t, len(truth)) {
		tree := r.tree(t)
		drive := tree.find("drive")
		if drive == nil || drive.count("[task]") != 1 || tree.find("[task]").find("suspended") == nil {
			t.Fatalf("no task under drive:\n%s", tree)
		}
		task := tree.find("[task]")
		c.add("the task", task.find("suspended").Time, truth[i]["[task]"])
		c.add("its wait", task.under("sleep", "[await]"), truth[i]["wait"])
		c.add("the loop's part", drive.find("run_until_complete").Time, truth[i]["[task]"])
	}
	c.check(t)
}

// TestFirstRequest has agents begin to sample with a request that computes. Waking them takes a while on a busy machine,
// so the best of several counts.
func TestFirstRequest(t *testing.T) {
	s := gunicorn(t, anyPython(t), "work")
	best := math.Inf(1)
	for range 5 {
		a := attach(t, s.PID, "-F", "1000")
		answer := s.get(t, "/compute")
		r := a.exactly(t, 1)[0]
		best = min(best, math.Abs(r.tree(t).inclusive()["compute"]-answer.Truth["compute"]))
	}
	if best > tolerance(0.025) {
		t.Errorf("the first request's function is off by %.6f at best", best)
	}
}

// TestDeepStack has a recursion whose middle cannot be kept.
func TestDeepStack(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "work")
		a := attach(t, s.PID, "-F", "1000")
		s.get(t, "/compute")
		answer := s.get(t, "/sink")
		r := a.exactly(t, 2)[1]
		checkSums(t, r)
		if !r.incomplete("stack_truncated") {
			t.Errorf("does not tell that the stack is truncated: %s", r)
		}
		tree := r.tree(t)
		deepest, gaps := 0, 0
		tree.walk(func(f *Frame, above []*Frame) {
			deepest = max(deepest, len(above))
			if f.Function == "[truncated]" {
				gaps++
			}
			if f.name() == "crunch" && (above[len(above)-1].name() != "sink" || !slices.ContainsFunc(above, func(f *Frame) bool { return f.Function == "[truncated]" })) {
				t.Errorf("crunch is not told at the deep end")
			}
		})
		if gaps == 0 || deepest < 200 {
			t.Errorf("%d gaps, %d frames deep", gaps, deepest)
		}
		var c comparison
		c.add("sink", tree.inclusive()["sink"], answer.Truth["sink"])
		c.add("crunch", tree.inclusive()["crunch"], answer.Truth["crunch"])
		c.check(t)
	})
}
