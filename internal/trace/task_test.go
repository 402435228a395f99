package trace

import (
	"fmt"
	"testing"
)

// TestTaskLanes has two tasks of one thread answer two requests.
func TestTaskLanes(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(10, 1, server, "/a")
	p.task(10, server, "loop", "a")
	p.read(11, 2, server, "/b")
	p.task(11, server, "loop", "b")
	p.step(12, server, "*a", false)
	p.sample(13, server, "loop *a work")
	p.step(14, server, "*b", false)
	p.sample(15, server, "loop *b work")
	p.leave(16, server, "loop", Poll)
	p.resume(20, server)
	p.step(20, server, "*a sleep", false)
	p.write(22, 1, server, "loop *a")
	p.step(24, server, "*b sleep", true)
	p.write(25, 2, server, "loop *b")
	p.wants("/a", `
loop 12
  a 10
    sleep 6
      [await] 6
    work 2
  [runqueue] 2`)
	p.wants("/b", `
loop 14
  b 11
    sleep 8
      [await] 8
    work 2
  [runqueue] 3`)
}

// TestChildTask hangs what a child did below where it was created.
func TestChildTask(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(12, server, "loop *view gather", "child")
	p.step(15, server, "*child", false)
	p.sample(16, server, "loop *child work")
	p.step(18, server, "*view gather", true)
	p.write(20, 1, server, "loop *view")
	p.wants("/", `
loop 10
  view 10
    gather 6
      [task] 6
        child 3
          work 3
        [runqueue] 3
      [await] 3`)
}

// TestChildTaskEndsBeforeWait has the event loop wait between a child's last step and the one that tells that it has ended.
func TestChildTaskEndsBeforeWait(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(12, server, "loop *view gather", "child")
	p.step(15, server, "*child", false)
	p.sample(16, server, "loop *child work")
	p.leave(18, server, "loop", Poll)
	p.resume(22, server)
	p.step(22, server, "*view gather", true)
	p.write(30, 1, server, "loop *view")
	p.wants("/", `
loop 20
  view 20
    gather 10
      [task] 6
        child 3
          work 3
        [runqueue] 3
      [await] 7`)
}

// TestEagerTask has a task run on the stack of the one that creates it until it is suspended.
func TestEagerTask(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(12, server, "loop *view", "child")
	p.sample(14, server, "loop *view *child work")
	p.sample(16, server, "loop *view *child work")
	p.sample(18, server, "loop *view rest")
	p.write(20, 1, server, "loop *view")
	x := p.told["/"]
	if x.Undecided || x.Waits[Await] != 0 {
		t.Errorf("told as\n%s", draw(x.Frames))
	}
	for _, f := range x.Frames {
		if f.Function == "[task]" && f.Time < int64(4*ms) {
			t.Errorf("the child took %d ns", f.Time)
		}
	}
}

// TestUnseenEagerTask has a task begin and wait on the stack of the one that creates it before anything is seen of it.
func TestUnseenEagerTask(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(12, server, "loop *view", "child")
	p.leave(13, server, "loop", Poll)
	p.resume(16, server)
	p.step(16, server, "*child sleep", false)
	p.step(18, server, "*view", true)
	p.write(20, 1, server, "loop *view")
	p.wants("/", `
loop 10
  view 10
    [task] 6
      child 6
        sleep 6
          [await] 4
    [await] 5`)
}

// TestTaskOfTheNext has a task that answered one request create the one that serves the next.
func TestTaskOfTheNext(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(1, 2, 200, "/stays-open")
	p.read(10, 1, server, "/first")
	p.task(10, server, "loop", "first")
	p.step(10, server, "*first", false)
	p.write(14, 1, server, "loop *first")
	p.read(15, 1, server, "/second")
	p.task(16, server, "loop *first done", "second")
	p.step(17, server, "*second", true)
	p.write(20, 1, server, "loop *second")
	for _, f := range p.told["/second"].Frames {
		if f.Function == "first" || f.Function == "done" {
			t.Errorf("told as\n%s", draw(p.told["/second"].Frames))
		}
	}
}

// TestManyTasks has one request open for long beside many tasks, which must not pile up.
func TestManyTasks(t *testing.T) {
	tests := []struct {
		name   string
		parent func(i int) string
	}{
		{"of the loop", func(int) string { return "loop" }},
		{"of one task", func(int) string { return "loop *forever" }},
		{"each of the one before", func(i int) string { return fmt.Sprintf("loop *c%d", (i+1)%2) }},
	}
	const tasks = 100_000
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.read(10, 1, server, "/")
			p.task(10, server, "loop", "forever")
			p.step(10, server, "*forever", false)
			for i := range tasks {
				at := uint64(11 + 2*i)
				parent, coroutine := p.stack(test.parent(i)), uint64(1<<32+i*64)
				p.tracer.Task(server, server, at*ms, parent, coroutine, 0)
				chain := []Frame{{Func: p.fn("child"), Task: coroutine}}
				p.tracer.Step(server, server, (at+1)*ms, Step{Coroutine: coroutine, Chain: chain, LastDone: i > 0})
			}
			proc := p.tracer.processes[server]
			if kept := reachable(proc); kept > 2*lanesMax+2*listMax {
				t.Errorf("%d lanes are kept of %d", kept, tasks)
			}
		})
	}
}

// reachable counts the lanes that a process keeps.
func reachable(p *process) int {
	seen := map[*lane]bool{}
	var todo []*lane
	visit := func(l *lane) {
		if l != nil && !seen[l] {
			seen[l] = true
			todo = append(todo, l)
		}
	}
	for _, l := range p.tasks {
		visit(l)
	}
	for _, th := range p.threads {
		visit(&th.home)
		visit(th.lane)
	}
	for len(todo) > 0 {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		visit(l.parent)
		for _, k := range l.kids {
			visit(k)
		}
	}
	return len(seen)
}

// TestEagerTasks has an eager task start another, which is on top when all of them are suspended.
func TestEagerTasks(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(11, server, "loop *view", "child")
	p.task(12, server, "loop *view *child", "grandchild")
	p.sample(13, server, "loop *view *child *grandchild work")
	p.step(14, server, "*other", false)
	p.step(16, server, "*grandchild rest", false)
	p.step(17, server, "*child rest", true)
	p.step(18, server, "*view rest", true)
	p.write(20, 1, server, "loop *view")
	p.wants("/", `
loop 10
  view 10
    [task] 7
      child 7
        [task] 5
          grandchild 5
            rest 3.5
              [await] 2
            work 1.5
        rest 4
          [await] 3
    rest 4
      [await] 4`)
}

// TestEagerTaskWaits has an eager task lose its CPU, and be suspended before it is seen again.
func TestEagerTaskWaits(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(10, server, "loop *view", "child")
	p.leave(12, server, "loop *view *child work", RunQueue)
	p.resume(16, server)
	p.sample(18, server, "loop *view rest")
	p.write(20, 1, server, "loop *view")
	p.wants("/", `
loop 10
  view 10
    [task] 10
      child 10
        [await] 3
        work 4
          [runqueue] 4
    rest 3`)
}

// TestEagerTaskEnds has eager tasks that end on the stack of the one that started them, and one that a callback made.
func TestEagerTaskEnds(t *testing.T) {
	ended := func(p *play, at uint64, coroutine string) {
		p.tracer.TaskEnded(server, server, at*ms, p.coroutine(coroutine))
	}
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(11, server, "loop *view", "child")
	p.sample(13, server, "loop *view *child work")
	ended(p, 15, "child")
	p.task(15, server, "loop *view", "unseen")
	ended(p, 16, "unseen")
	p.step(16, server, "*other", false)
	p.step(18, server, "*view", true)
	p.write(20, 1, server, "loop *view")
	p.wants("/", `
loop 10
  view 10
    [task] 3
      child 3
        work 3
    [await] 2`)

	p.read(30, 1, server, "/callback")
	p.task(30, server, "loop", "eager")
	p.sample(32, server, "loop *eager")
	p.step(34, server, "*other", false)
	p.step(38, server, "*eager rest", true)
	p.write(40, 1, server, "loop *eager")
	p.wants("/callback", `
loop 10
  eager 10
    rest 5
      [await] 4`)
}

// TestCalledCoroutine has a function drive a coroutine to its end by itself: it is a part of the thread's request, unlike
// one that an event loop drives.
func TestCalledCoroutine(t *testing.T) {
	p := newPlay(t)
	p.fn("unrolled_run").ShortFile = "trio/_core/_run.py"
	p.open(1)
	p.read(10, 1, server, "/")
	p.sample(12, server, "loop view *outer *inner work")
	p.sample(14, server, "loop view *outer *inner work")
	p.write(20, 1, server, "loop view")
	p.wants("/", `
loop 10
  view 10
    outer 10
      inner 10
        work 10`)
	p.read(30, 1, server, "/trio")
	p.sample(32, server, "unrolled_run *handler work")
	p.sample(34, server, "unrolled_run *other work")
	p.write(40, 1, server, "unrolled_run *handler")
	p.wants("/trio", `
unrolled_run 10
  [not sampled] 1
  handler 9
    work 6
      [await] 4`)
	if p.told["/"].Imprecise || !p.told["/trio"].Imprecise {
		t.Error("does not say that it was not told when trio's tasks switched, or says so of others")
	}
}

// TestCoroutineReused has a child end unseen, since another coroutine has its address when that is looked at.
func TestCoroutineReused(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(12, server, "loop *view gather", "child")
	p.step(14, server, "*child", false)
	p.sample(15, server, "loop *child work")
	p.task(16, server, "loop", "child")
	p.step(18, server, "*view gather", false)
	p.write(20, 1, server, "loop *view")
	p.wants("/", `
loop 10
  view 10
    gather 6
      [task] 3.5
        child 1.5
          work 1.5
        [runqueue] 2
      [await] 4`)
}

// TestLeftOutCoroutine has a task go on in what it awaits while the interpreter's stack lacks its own coroutine.
func TestLeftOutCoroutine(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "serve")
	p.step(10, server, "*serve", false)
	p.leave(12, server, "loop", Poll)
	p.resume(14, server)
	p.step(14, server, "*serve *run receive", false)
	p.sample(16, server, "loop *run work")
	p.write(20, 1, server, "loop *run work")
	p.wants("/", `
loop 10
  serve 10
    run 10
      work 6
      receive 4
        [await] 2`)
}

// TestAnsweredByChild has a child of a task answer for it, which never goes on.
func TestAnsweredByChild(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "view")
	p.step(10, server, "*view", false)
	p.task(12, server, "loop *view make", "child")
	p.step(14, server, "*child", false)
	p.write(20, 1, server, "loop *child")
	p.wants("/", `
loop 10
  view 10
    make 0
      [task] 8
        child 6
        [runqueue] 2
    [await] 6`)
}

// TestStreamTasks has the task of a connection of HTTP/2 start a task for each stream.
func TestStreamTasks(t *testing.T) {
	p := newPlay(t)
	p.framer = 0
	p.open(1)
	p.readStreams(10, 1, 1, 3)
	p.step(11, server, "*serve read", false)
	p.task(12, server, "loop *serve", "one")
	p.task(13, server, "loop *serve", "three")
	p.step(14, server, "*one", false)
	p.sample(15, server, "loop *one work")
	p.tracer.Write(server, server, 16*ms, p.stack("loop *one"))
	p.answerStreams(16, 1, 1)
	p.step(18, server, "*three", true)
	p.tracer.Write(server, server, 20*ms, p.stack("loop *three"))
	p.answerStreams(20, 1, 3)
	p.wants("/a", "loop 6\n  one 2\n    work 2\n  [runqueue] 4")
	p.wants("/b", "loop 10\n  three 2\n  [runqueue] 8")
}

// TestPreemptedStep has a thread lose its CPU when a step has begun and the task's function is not on the stack yet.
func TestPreemptedStep(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop _run@asyncio/events.py", "view")
	p.step(12, server, "*view", false)
	p.leave(12, server, "loop _run@asyncio/events.py", RunQueue)
	p.resume(16, server)
	p.sample(16, server, "loop _run@asyncio/events.py")
	p.sent(20, 1, server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if x := p.told["/"]; x.Undecided || x.Waits[RunQueue] != int64(6*ms) {
		t.Errorf("told as\n%s", draw(x.Frames))
	}
}

// TestPreemptedAfterStep has a thread lose its CPU as it wakes one that waits for the interpreter lock, which uvloop lets go
// of after each step.
func TestPreemptedAfterStep(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "run", "view")
	p.step(12, server, "*view", false)
	p.sample(13, server, "run *view")
	p.step(14, server, "*view", false)
	s := p.stack("run")
	s.InCall = true
	p.tracer.SwitchOut(server, server, 14*ms, s, RunQueue)
	p.resume(18, server)
	p.write(20, 1, server, "run *view")
	if x := p.told["/"]; x.Undecided || x.Waits[RunQueue] != int64(2*ms) || x.Waits[Await] < int64(4*ms) {
		t.Errorf("told as\n%s", draw(x.Frames))
	}
}

// TestLoopAnswers has an event loop write the answers of tasks that the callbacks have made which got the heads.
func TestLoopAnswers(t *testing.T) {
	p := newPlay(t)
	for conn, name := range []string{"a", "b", "c"} {
		conn, at := uint64(conn), 10+uint64(conn)
		p.open(conn)
		p.read(at, conn, server, "/"+name)
		if name != "c" {
			p.task(at, server, "loop Protocol.data_received", name)
		}
	}
	p.task(13, server, "loop timer", "c")
	for i, name := range []string{"a", "b", "c"} {
		p.step(14+uint64(i), server, "*"+name, i > 0)
	}
	p.leave(18, server, "loop", Poll)
	for conn := range uint64(3) {
		p.write(20, conn, server, "loop")
	}
	p.wants("/a", "a 10\n  [blocked] 5\n  [runqueue] 4")
	if !p.told["/c"].Undecided {
		t.Error("a task that a timer has made is taken for that of a request")
	}
}

// TestLoopUpgrades has an event loop write what comes without a stack when a step of another request's task has ended.
func TestLoopUpgrades(t *testing.T) {
	p := newPlay(t)
	for conn, name := range []string{"a", "b"} {
		p.open(uint64(conn))
		p.read(10, uint64(conn), server, "/"+name)
		p.task(11, server, "loop Protocol.data_received", name)
	}
	p.step(12, server, "*a", false)
	p.step(14, server, "*b", true)
	p.sample(15, server, "loop *b work")
	p.sent(16, 0, server, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	p.write(20, 1, server, "loop *b")
	for path, x := range p.told {
		for _, f := range x.Frames {
			if f.Function == "work" && path != "/b" || f.Function == "a" && path != "/a" {
				t.Errorf("%s is told with %s", path, f.Function)
			}
		}
	}
}
