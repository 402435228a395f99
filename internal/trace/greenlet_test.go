package trace

import (
	"slices"
	"strings"
	"testing"
)

const hub, one, two = 0x100, 0x200, 0x300 // greenlets

func TestGreenletLanes(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.greenlet(1, server, hub, "hub", one)
	p.read(10, 1, server, "/a")
	p.greenlet(12, server, one, "serve a wait", hub)
	p.greenlet(13, server, hub, "hub", two)
	p.read(14, 2, server, "/b")
	p.greenlet(16, server, two, "serve b wait", hub)
	p.greenlet(17, server, hub, "hub", one)
	p.write(20, 1, server, "serve a")
	p.greenlet(21, server, one, "serve", two)
	p.write(24, 2, server, "serve b")
	p.wants("/a", `
serve 10
  a 8
    wait 5
      [await] 5`)
	p.wants("/b", `
serve 10
  b 8
    wait 5
      [await] 5`)
}

// TestGreenletBranches has a handler spawn two greenlets, of which one was another's that ended.
func TestGreenletBranches(t *testing.T) {
	const child, other, late = 0x400, 0x500, 0x600
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(1, 2, 200, "/stays-open")
	p.greenlet(2, server, hub, "hub", one)
	p.spawn(3, server, one, "old", child)
	p.greenlet(4, server, one, "old", child)
	p.greenlet(5, server, child, "older wait", hub)
	p.greenlet(6, server, hub, "hub", child)
	p.greenlet(7, server, 0, "", hub) // returned
	p.greenlet(8, server, hub, "hub", two)
	p.read(10, 1, server, "/")
	p.spawn(11, server, two, "serve start", child)
	p.spawn(12, server, two, "serve start", other)
	p.spawn(12, server, two, "serve start", late)
	p.greenlet(13, server, two, "serve join", hub)
	p.greenlet(14, server, hub, "hub", child)
	p.greenlet(16, server, child, "work wait", hub)
	p.greenlet(17, server, hub, "hub", other)
	p.greenlet(18, server, 0, "", child) // seen at no point
	p.greenlet(19, server, child, "work", two)
	p.write(20, 1, server, "serve")
	p.wants("/", `
serve 10
  join 6
    [await] 6
  start 1
    [greenlet] 23
      work 6
        [await] 1
        wait 2
          [await] 2
      [runqueue] 16`)
}

// TestGreenletEnds has one greenlet take the place of another that was suspended in a function of its own.
func TestGreenletEnds(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(1, 2, 200, "/stays-open")
	p.greenlet(2, server, hub, "hub", one)
	p.greenlet(4, server, one, "job wait", hub)
	p.greenlet(5, server, hub, "hub", one)
	p.greenlet(6, server, 0, "", hub) // returned
	p.greenlet(7, server, hub, "hub", two)
	p.read(10, 1, server, "/")
	p.greenlet(12, server, one, "serve wait", hub)
	p.greenlet(15, server, hub, "hub", two)
	p.write(20, 1, server, "serve")
	for _, f := range p.told["/"].Frames {
		if f.Function == "job" {
			t.Errorf("told as\n%s", draw(p.told["/"].Frames))
		}
	}
}

// TestGreenPool has an executor start a greenlet for one request, which works for whoever gives it a job.
func TestGreenPool(t *testing.T) {
	const worker = 0x400
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.greenlet(1, server, hub, "hub", one)
	p.read(10, 1, server, "/a")
	p.spawn(11, server, one, "serve submit _adjust_thread_count@concurrent/futures/thread.py", worker)
	p.greenlet(12, server, one, "serve", hub)
	p.greenlet(13, server, hub, "hub", two)
	p.read(14, 2, server, "/b")
	p.greenlet(15, server, two, "serve result@concurrent/futures/_base.py wait", hub)
	p.greenlet(16, server, hub, "hub", worker)
	p.greenlet(20, server, worker, "_worker forB", hub)
	p.greenlet(21, server, hub, "hub", one)
	p.write(22, 1, server, "serve")
	p.greenlet(23, server, one, "serve", two)
	p.write(24, 2, server, "serve")
	for path, x := range p.told {
		for _, f := range x.Frames {
			if f.Function == "forB" {
				t.Errorf("%s is told with what the pool did", path)
			}
		}
		if !x.Undecided {
			t.Errorf("%s leaves no doubt", path)
		}
	}
}

// TestGreenletWorkers has a request spawn a greenlet that works for whoever puts something into its queue, or one that goes on
// with work of its own.
func TestGreenletWorkers(t *testing.T) {
	const worker = 0x400
	for queue, shared := range map[string]bool{
		"": true, " get@queue.py wait@threading.py acquire@gevent/thread.py": true, " sleep@gevent/hub.py": false, " helps": false,
	} {
		p := newPlay(t)
		for _, name := range []string{"serves", "helps", "forB"} {
			p.fn(name).App = true
		}
		p.open(1)
		p.open(2)
		p.read(9, 2, server, "/b")
		p.greenlet(10, server, hub, "hub", one)
		p.read(10, 1, server, "/a")
		p.spawn(11, server, one, "serve", worker)
		p.greenlet(12, server, one, "serve", worker)
		p.greenlet(13, server, worker, "run serves"+queue, worker)
		p.greenlet(20, server, worker, "run serves forB", one)
		p.write(22, 1, server, "serve")
		if x := p.told["/a"]; x.Undecided != shared || slices.Contains(p.functions("/a"), "forB") == shared {
			t.Errorf("%q: undecided: %v\n%s", queue, x.Undecided, draw(x.Frames))
		}
	}
}

// TestGreenletSwitch has the thread lose its CPU, and be sampled, amid switches from one greenlet to another: the stack is
// still that of the one which leaves.
func TestGreenletSwitch(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	preempted := func(at uint64, root uint64, stack string) {
		p.root = root
		p.sample(at, server, stack)
		p.leave(at, server, stack, RunQueue)
		p.resume(at+2, server)
	}
	p.greenlet(1, server, hub, "hub", one)
	p.read(10, 1, server, "/")
	p.greenlet(11, server, one, "serve wait", hub)
	p.greenlet(11, server, hub, "hub", one)
	p.greenlet(12, server, one, "serve wait", hub)
	preempted(12, one, "serve wait")
	p.greenlet(15, server, hub, "hub", one)
	preempted(16, hub, "hub")
	preempted(19, hub, "hub")
	preempted(22, one, "serve work")
	p.write(25, 1, server, "serve")
	p.wants("/", `
serve 15
  work 3
    [runqueue] 2
  wait 10
    [runqueue] 4
    [await] 3`)
}

// TestGreenletExecutor has two handlers give jobs to the same greenlet of an executor's, which one of them had started and
// which goes from one job to the other without a wait.
func TestGreenletExecutor(t *testing.T) {
	const worker, a, b = 0x400, 7, 8
	const submit = " ThreadPoolExecutor.submit@concurrent/futures/thread.py"
	const start = submit + " _adjust_thread_count@concurrent/futures/thread.py"
	const runs = "_worker@concurrent/futures/thread.py _WorkItem.run@concurrent/futures/thread.py "
	const awaits = " Future.result@concurrent/futures/_base.py"
	p := newPlay(t)
	p.open(1)
	p.open(2)
	does := func(stack string, item uint64) *Stack {
		p.root = worker
		s := p.stack(stack)
		s.Item = item
		return s
	}
	switches := func(at uint64, stack string, item, to uint64) {
		p.tracer.Greenlet(server, server, at*ms, does(stack, item), to)
		p.root = to
	}
	p.greenlet(1, server, hub, "hub", one)
	p.read(10, 1, server, "/a")
	p.put(11, server, "serve a"+submit, a)
	p.spawn(12, server, one, "serve a"+start, worker)
	p.greenlet(13, server, one, "serve a"+awaits, two)
	p.read(13, 2, server, "/b")
	p.put(14, server, "serve b"+submit, b)
	p.greenlet(15, server, two, "serve b"+awaits, worker)
	switches(16, runs+"forA", a, hub)
	p.greenlet(17, server, hub, "hub", worker)
	p.tracer.Sample(server, server, 18*ms, does(runs+"forA more", a))
	switches(19, runs+"forB", b, one)
	p.write(20, 1, server, "serve a")
	p.greenlet(21, server, one, "serve", worker)
	switches(22, "_worker@concurrent/futures/thread.py", 0, two)
	p.write(24, 2, server, "serve b")
	for path, own := range map[string]string{"/a": "forA", "/b": "forB"} {
		x := p.told[path]
		names := strings.Join(p.functions(path), " ")
		if x.Undecided || !strings.Contains(names, own) || strings.Count(names, "for") != 1 {
			t.Errorf("%s: undecided %v:\n%s", path, x.Undecided, draw(x.Frames))
		}
	}
}
