package trace

import (
	"strings"
	"testing"
)

// TestLoopOfAHandler has a handler run an event loop and answer when that is over, twice.
func TestLoopOfAHandler(t *testing.T) {
	p := newPlay(t)
	p.fn("run").ShortFile = "asyncio/runners.py"
	p.open(1)
	for _, at := range []uint64{10, 40} {
		p.read(at, 1, server, "/")
		p.task(at+2, server, "main view run", "main_task")
		p.step(at+2, server, "*main_task", false)
		p.sample(at+3, server, "main view run *main_task work")
		p.leave(at+5, server, "main view run select", Poll)
		p.resume(at+9, server)
		p.step(at+9, server, "*main_task sleep", false)
		p.sample(at+11, server, "main view rest")
		p.write(at+12, 1, server, "main answer")
		p.wants("/", `
main 12
  view 10
    rest 2
    run 8
      [task] 8
        main_task 8
          sleep 4
            [await] 4
          work 3
      select 4
        [poll] 4`)
	}
	p.read(70, 1, server, "/plain")
	p.sample(72, server, "main view work")
	p.write(74, 1, server, "main answer")
	p.wants("/plain", `
main 4
  view 4
    work 4`)
}

// TestTaskOfNoOne has a handler's event loop run a task of which nothing was told.
func TestTaskOfNoOne(t *testing.T) {
	p := newPlay(t)
	p.fn("run").ShortFile = "asyncio/runners.py"
	p.open(1)
	p.read(10, 1, server, "/")
	p.sample(12, server, "main view run *main_task work")
	p.leave(14, server, "main view run select", Poll)
	p.resume(18, server)
	p.write(20, 1, server, "main answer")
	p.wants("/", `
main 10
  view 6
    run 6
      select 4
        [poll] 4
      main_task 2
        work 2`)
}

// TestLoopInC has a task run in an event loop that no stack shows, and an answer be written outside of the task, but not of
// the loop, and by one that has left it.
func TestLoopInC(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(11, server, "main view", "main_task")
	p.step(12, server, "*main_task", false)
	p.sample(13, server, "main view *main_task work")
	p.write(14, 1, server, "main view callback")
	if x := p.told["/"]; !x.Undecided {
		t.Errorf("inside of the loop it is told as %s", draw(x.Frames))
	}
	p.read(20, 1, server, "/")
	p.step(22, server, "*main_task", false)
	p.sample(23, server, "main view *main_task work")
	p.write(24, 1, server, "main answer")
	if x := p.told["/"]; x.Undecided {
		t.Errorf("outside of the loop it is told as %s", draw(x.Frames))
	}
}

// TestCallbackOfLoopInC has such a loop call functions of asyncio's and of others, while a task waits.
func TestCallbackOfLoopInC(t *testing.T) {
	p := newPlay(t)
	p.fn("callback").ShortFile = "asyncio/tasks.py"
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "main", "main_task")
	p.step(10, server, "*main_task", false)
	p.sample(11, server, "main *main_task work")
	p.leave(12, server, "main", Poll)
	p.resume(14, server)
	p.sample(15, server, "main callback")
	p.sample(16, server, "main connected")
	p.step(18, server, "*main_task sleep", false)
	p.write(20, 1, server, "main *main_task")
	x := p.told["/"]
	if tree := draw(x.Frames); x.Undecided || !strings.Contains(tree, "[await]") || strings.Contains(tree, "[not sampled]") {
		t.Errorf("undecided: %v\n%s", x.Undecided, tree)
	}
}

// TestTasksOfPython has a task run that asyncio's own Python code drives, of whose steps nothing tells.
func TestTasksOfPython(t *testing.T) {
	for _, step := range []string{"_step", "Task.__step", "Task.__step_run_and_handle_result", ""} {
		p := newPlay(t)
		loop := "run_forever@asyncio/base_events.py "
		if step != "" {
			step += "@asyncio/tasks.py"
			p.fn(step).ShortFile = "asyncio/tasks.py"
			loop += step + " "
		} else {
			p.task(9, server, loop, "view")
		}
		p.open(1)
		p.read(10, 1, server, "/")
		p.sample(12, server, loop+"*view")
		p.write(14, 1, server, loop+"*view")
		if x := p.told["/"]; x.Undecided != (step != "") || x.Imprecise != (step != "") {
			t.Errorf("%q: undecided %v, imprecise %v:\n%s", step, x.Undecided, x.Imprecise, draw(x.Frames))
		}
	}
}
