package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestImpossibleCalls has functions call each other in turns, and looks for pairs that they cannot form.
func TestImpossibleCalls(t *testing.T) {
	callees := map[string][]string{
		"alternate": {"outer_x", "outer_y"},
		"outer_x":   {"inner_x"},
		"outer_y":   {"inner_y"},
		"inner_x":   {},
		"inner_y":   {},
	}
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "pairs")
		a := attach(t, s.PID, "-F", "2000")
		const n = 60
		for range n {
			s.get(t, "/alternate")
		}
		records := a.exactly(t, n)
		checkSums(t, records...)
		samples := 0
		for _, r := range records {
			samples += r.Stacktrace.SampleCount
			if r.incomplete("stack_truncated") {
				t.Errorf("tells of a deep stack: %s", r)
			}
			r.tree(t).walk(func(f *Frame, above []*Frame) {
				if len(above) == 0 || f.bracketed() {
					return
				}
				caller := above[len(above)-1].name()
				if can, known := callees[caller]; known && !strings.Contains(strings.Join(can, " "), f.name()) {
					t.Errorf("%s calls %s", caller, f.name())
				}
			})
		}
		t.Logf("%d samples", samples)
	})
}

var madeName = regexp.MustCompile(`^made_(\d+)$`)

// TestFreedCode imports modules during a request, each of which takes the memory of the one before. A name that cannot
// be read any more is unknown; it must not be another's.
func TestFreedCode(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "pairs")
		a := attach(t, s.PID, "-F", "2000")
		const n = 15
		for range n {
			s.get(t, "/imports")
		}
		for _, r := range a.exactly(t, n) {
			checkMade(t, r)
		}
	})
}

// TestFreedCodeOfChildren does so in processes that were just forked, where the end of code objects is not seen yet.
func TestFreedCodeOfChildren(t *testing.T) {
	s := startService(t, anyPython(t), "forks.py")
	s.Address = "127.0.0.1:" + s.Log.wait(t, `Listening at: (\d+)`, 1)[0]
	a := attach(t, s.PID, "-F", "2000")
	const n = 15
	for range n {
		s.get(t, "/imports")
	}
	for _, r := range a.exactly(t, n) {
		checkMade(t, r)
		if r.Request.PID == s.PID || r.tree(t).find("imports") == nil {
			t.Errorf("%s of process %d:\n%s", r, r.Request.PID, r.tree(t))
		}
	}
}

// checkMade holds the functions and files that pairs makes against each other.
func checkMade(t *testing.T, r *Record) {
	t.Helper()
	r.tree(t).walk(func(f *Frame, above []*Frame) {
		match := madeName.FindStringSubmatch(f.name())
		if match == nil {
			return
		}
		number, _ := strconv.Atoi(match[1])
		if f.File != match[0]+".py" || f.Line != number%100+1 {
			t.Errorf("%s is told to be in %s:%d", f.Function, f.File, f.Line)
		}
		caller := above[len(above)-1]
		if caller.Function != "[unknown]" && (caller.Function != "<module>" || caller.File != f.File) {
			t.Errorf("%s of %s is called by %s of %s", f.Function, f.File, caller.Function, caller.File)
		}
	})
}

// TestFrameworkCalls holds every call in the trees of a Flask application against those that the interpreter's own
// profiler saw.
func TestFrameworkCalls(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
		if !python.has("flask") {
			t.Skip("no flask on this interpreter")
		}
		s := gunicorn(t, python, "framework")
		for range 3 {
			s.get(t, "/cart/10?trace")
		}
		possible := map[[6]any]bool{}
		var told [][6]any
		if err := json.Unmarshal([]byte(s.get(t, "/calls").Text), &told); err != nil {
			t.Fatal(err)
		}
		for _, call := range told {
			possible[call] = true
		}
		a := attach(t, s.PID, "-F", "2000")
		const n = 40
		for range n {
			s.get(t, "/cart/10")
		}
		seen, impossible := 0, map[string]bool{}
		for _, r := range a.exactly(t, n) {
			r.tree(t).walk(func(f *Frame, above []*Frame) {
				if f.bracketed() || !below(above, "app") {
					return
				}
				caller := above[len(above)-1]
				seen++
				if caller.bracketed() {
					return // freed since: a template's code
				}
				if !possible[[6]any{caller.File, caller.Function, float64(caller.Line), f.File, f.Function, float64(f.Line)}] {
					impossible[fmt.Sprintf("%s (%s:%d) calls %s (%s:%d)", caller.Function, caller.File, caller.Line, f.Function, f.File, f.Line)] = true
				}
			})
		}
		for text := range impossible {
			t.Error(text)
		}
		if seen < n {
			t.Errorf("only %d calls in %d trees", seen, n)
		}
	})
}

// below tells whether a frame stands somewhere under a function of testdata.
func below(above []*Frame, function string) bool {
	for _, f := range above {
		if f.name() == function && strings.Contains(f.File, "testdata") {
			return true
		}
	}
	return false
}

var onlyName = regexp.MustCompile(`^only_\d+$`)

// TestRequestsAtOnce runs many requests in the threads of one process, each with a function of its own.
func TestRequestsAtOnce(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "work", "-k", "gthread", "--threads", "16")
		a := attach(t, s.PID, "-F", "1000")
		const n = 16
		var wait sync.WaitGroup
		answers := make(chan *Answer, 2*n)
		for k := range n {
			wait.Go(func() {
				for range 2 {
					answers <- s.get(t, fmt.Sprint("/only_", k))
				}
			})
		}
		wait.Wait()
		close(answers)
		records := a.exactly(t, 2*n)
		checkSums(t, records...)
		var c comparison
		for answer := range answers {
			r := byID(t, records)[answer.ID]
			compareTimes(t, &c, r, answer.Truth)
			r.tree(t).walk(func(f *Frame, _ []*Frame) {
				if onlyName.MatchString(f.name()) && "/"+f.name() != r.Endpoint {
					t.Errorf("%s is told of %s", f.name(), r)
				}
			})
		}
		c.check(t)
	})
}

// TestRequestsThatMeet has one request wake another's thread, which does not make that its own.
func TestRequestsThatMeet(t *testing.T) {
	s := gunicorn(t, anyPython(t), "work", "-k", "gthread", "--threads", "4")
	a := attach(t, s.PID)
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() { s.get(t, "/contended") })
	}
	wait.Wait()
	records := a.exactly(t, 2)
	checkSums(t, records...)
	for _, r := range records {
		if calls := r.tree(t).count("contend"); calls != 1 {
			t.Errorf("contend is told %d times, in the other request's thread too:\n%s", calls, r.tree(t))
		}
	}
}
