package e2e

import "testing"

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

// TestWaits looks for each wait under the function that waited, with its reason.
func TestWaits(t *testing.T) {
	const asked, slack = 0.030, 0.002
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "work")
		a := attach(t, s.PID)
		truth := map[string]map[string]float64{}
		for _, w := range waits {
			answer := s.get(t, "/"+w.function)
			truth[answer.ID] = answer.Truth
		}
		records := a.exactly(t, len(waits))
		checkSums(t, records...)
		for i, w := range waits {
			r := records[i]
			told := r.tree(t).under(w.function, w.leaf)
			if w.leaf == "[socket accept]" { // socket.accept is written in Python
				told = r.tree(t).under("accept", w.leaf)
			}
			most := truth[r.Apitrace.TraceID][w.function] + slack
			if r.Endpoint != "/"+w.function || told < asked-slack || told > most {
				t.Errorf("%s takes %.6f of %.6f under %s:\n%s", w.leaf, told, most-slack, w.function, r.tree(t))
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
		if !f.bracketed() || f.Function == "[request]" || f.Function == "[truncated]" {
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

// TestInterpreterLock has two threads of one process compute at once.
func TestInterpreterLock(t *testing.T) {
	onEachPython(t, func(t *testing.T, python Python) {
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
			waited := 0.0 // and not for what a hypervisor took away, which is no time on a CPU for the service's clock
			contend := r.tree(t).find("contend")
			contend.walk(func(f *Frame, _ []*Frame) {
				if f.Function == "[gil]" {
					waited += f.Time
				}
			})
			all := truth[id]["contend"]
			if off := all - truth[id]["cpu"]; waited < all/4 || waited > off+0.01 {
				t.Errorf("waits %.6f for the interpreter lock, off the CPU for %.6f of %.6f:\n%s", waited, off, all, contend)
			}
			if r.Request.Blocked["gil"] < waited-rounding(2) {
				t.Errorf("blocked on the interpreter lock %v, but waits for it %.6f", r.Request.Blocked, waited)
			}
		}
	})
}
