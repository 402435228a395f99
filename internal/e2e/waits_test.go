package e2e

import (
	"math"
	"strings"
	"testing"
)

// wait is a view that waits 30 ms for something, and how that is told.
type wait struct{ function, leaf, key string }

var waits = []wait{
	{"doze", "[sleep]", "sleep"},
	{"receive", "[socket recv]", "socket"},
	{"acquire", "[lock]", "lock"},
	{"read_pipe", "[pipe]", "pipe"},
	{"wait_child", "[child]", "child"},
	{"poll", "[poll]", "poll"},
	{"epoll", "[poll]", "poll"},
	{"accept", "[socket accept]", "socket"},
	{"fill", "[socket send]", "socket"},
}

// TestWaits looks for each wait under the function that waited, with its reason. What else the
// function waits for is a CPU and the interpreter lock, and what it sends it copies.
func TestWaits(t *testing.T) {
	const slack = 0.002
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "work")
		a := attach(t, s.PID)
		truth := map[string]float64{}
		for _, w := range waits {
			answer := s.get(t, "/"+w.function)
			truth[answer.ID] = answer.Truth["wait"]
		}
		records := a.exactly(t, len(waits))
		checkSums(t, records...)
		for i, w := range waits {
			r := records[i]
			tree, truth := r.tree(t), truth[r.Apitrace.TraceID]
			told := tree.under(w.function, w.leaf)
			late := r.Request.Blocked["runqueue"] + r.Request.Blocked["gil"] + r.Stacktrace.CPUTime
			if r.Endpoint != "/"+w.function || told > truth+slack || told < truth-late-slack {
				t.Errorf("%s takes %.6f under %s, in truth %.6f:\n%s", w.leaf, told, w.function, truth, tree)
			}
			if r.Request.Blocked[w.key] < told-rounding(2) {
				t.Errorf("blocked on %s %.6f, but %s took %.6f", w.key, r.Request.Blocked[w.key], w.leaf, told)
			}
			checkLeaves(t, r)
		}
	})
}

// checkLeaves has frames in square brackets carry the source of the frame that they stand under, and no callees.
func checkLeaves(t *testing.T, r *Record) {
	t.Helper()
	r.tree(t).walk(func(f *Frame, above []*Frame) {
		if !f.bracketed() || f.branch() || f.Function == "[request]" || f.Function == "[truncated]" {
			return
		}
		var under Frame
		if len(above) > 0 {
			under = *above[len(above)-1]
		}
		if f.File != under.File || f.ShortFile != under.ShortFile || f.Line != under.Line || f.App != under.App {
			t.Errorf("%s has the source %s:%d, but stands under %s in %s:%d", f.Function, f.File, f.Line, under.Function, under.File, under.Line)
		}
		if len(f.Children) > 0 {
			t.Errorf("%s calls %s", f.Function, f.Children[0].Function)
		}
	})
}

// TestChildProcess runs a command and waits for it by the standard library's means.
func TestChildProcess(t *testing.T) {
	s := gunicorn(t, anyPython(t), "work")
	a := attach(t, s.PID)
	answer := s.get(t, "/run_child")
	r := a.exactly(t, 1)[0]
	checkSums(t, r)
	if waited := r.Request.Blocked["child"]; waited < 0.028 || waited > answer.Truth["run_child"] {
		t.Errorf("waits %.6f of %.6f for the child:\n%s", waited, answer.Truth["run_child"], r.tree(t))
	}
}

// TestIOUring has the kernel read for requests, in a thread that it makes: what that waits for is not the event loop's.
func TestIOUring(t *testing.T) {
	s := startService(t, anyPython(t), "uring.py")
	port := s.Log.wait(t, `Listening at: (\d+)|no io_uring`, 1)[0]
	if port == "" {
		t.Skip("no io_uring here")
	}
	s.Address = "127.0.0.1:" + port
	a := attach(t, s.PID)
	const n = 5
	for range n {
		s.get(t, "/")
	}
	for _, r := range a.exactly(t, n) {
		checkSums(t, r)
		tree := r.tree(t)
		if view := tree.find("view"); view == nil || view.find("sleep") == nil || tree.find("[blocked]") != nil {
			t.Errorf("is told as\n%s", tree)
		}
	}
}

// TestThreadsThatBegin has a request start threads that get a CPU late: until then the interpreter takes them for the one
// that starts them.
func TestThreadsThatBegin(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "work")
		a := attach(t, s.PID)
		answer := s.get(t, "/begin")
		r := a.exactly(t, 1)[0]
		checkSums(t, r)
		seconds := withBranches(r.tree(t))
		for _, name := range []string{"start_late", "nap"} {
			if got, want := seconds[name], answer.Truth[name]; math.Abs(got-want) > max(0.003, 0.05*want) {
				t.Errorf("%s takes %.6f, in truth %.6f:\n%s", name, got, want, r.tree(t))
			}
		}
	})
}

// TestInterpreterLock has two threads of one process compute at once.
func TestInterpreterLock(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
		if strings.HasSuffix(python.Version, "t") {
			t.Skip("it has no such lock")
		}
		s := gunicorn(t, python, "work", "-k", "gthread", "--threads", "4")
		a := attach(t, s.PID)
		answers := make(chan *Answer)
		for range 2 {
			go func() { answers <- s.get(t, "/contended") }()
		}
		truth := map[string]map[string]float64{}
		for range 2 {
			answer := <-answers
			truth[answer.ID] = answer.Truth
		}
		records := a.exactly(t, 2)
		checkSums(t, records...)
		for id, r := range byID(t, records) {
			contend := r.tree(t).find("contend")
			if contend == nil {
				t.Fatalf("no contend:\n%s", r.tree(t))
			}
			waited, queued := contend.total("[gil]"), contend.total("[runqueue]")
			// What a hypervisor took away is no time on a CPU for the service's clock, but it is for the agent's.
			off := truth[id]["contend"] - truth[id]["cpu"]
			if waited < (off-queued)/2-0.01 || waited == 0 || waited+queued > off+0.01 {
				t.Errorf("waits %.6f for the interpreter lock and %.6f for a CPU, in truth %.6f:\n%s", waited, queued, off, contend)
			}
			if r.Request.Blocked["gil"] < waited-rounding(2) {
				t.Errorf("blocked on the interpreter lock %v, but waits for it %.6f", r.Request.Blocked, waited)
			}
		}
	})
}
