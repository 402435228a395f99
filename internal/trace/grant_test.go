package trace

import (
	"strings"
	"testing"
)

const (
	pool   = uint32(201) // threads of an executor
	other  = uint32(202)
	worker = "_bootstrap@threading.py _worker@concurrent/futures/thread.py"
	runs   = worker + " _WorkItem.run@concurrent/futures/thread.py "
	submit = "main view submit@concurrent/futures/thread.py"
	result = "main view result@concurrent/futures/_base.py wait@threading.py"
)

func (p *play) handoff(at uint64, tid uint32, stack string, woken uint32) {
	p.tracer.Handoff(server, tid, at*ms, p.stack(stack), woken)
}

// TestWorkForThreads has a request hand a job to a thread, which goes on to another's.
func TestWorkForThreads(t *testing.T) {
	tests := []struct {
		name string
		play func(p *play)
		want string // the branch's functions
	}{
		{"woken for it", func(p *play) {
			p.leave(11, pool, worker, Lock)
			p.handoff(12, server, submit, pool)
			p.resume(12, pool)
			p.sample(14, pool, runs+"job")
			p.leave(16, pool, worker, Lock)
		}, "job"},
		{"started for it", func(p *play) {
			p.tracer.Thread(server, server, 12*ms, p.stack(submit), pool)
			p.sample(14, pool, runs+"job")
			p.leave(16, pool, worker, Lock)
		}, "job"},
		{"and goes on to another job", func(p *play) {
			p.leave(11, pool, worker, Lock)
			p.handoff(12, server, submit, pool)
			p.resume(12, pool)
			p.sample(14, pool, runs+"job")
			p.sample(16, pool, runs+"another")
			p.sample(18, pool, runs+"another")
		}, "job"},
		{"which another thread takes", func(p *play) {
			p.sample(11, other, runs+"before")
			p.leave(11, pool, worker, Lock)
			p.handoff(12, server, submit, pool)
			p.sample(14, other, runs+"job")
			p.resume(15, pool)
			p.sample(16, pool, runs+"another")
		}, ""},
		{"which is told by who gets the result", func(p *play) {
			p.sample(11, pool, runs+"before")
			p.leave(12, server, result, Lock)
			p.sample(14, pool, runs+"job")
			p.handoff(16, pool, runs+"set_result@concurrent/futures/_base.py", server)
			p.sample(18, pool, runs+"another")
		}, "job"},
		{"in the midst of which a lock is released", func(p *play) {
			p.sample(11, pool, runs+"another")
			p.leave(12, pool, runs+"another", Lock)
			p.handoff(13, server, "main view release", pool)
			p.resume(13, pool)
			p.sample(14, pool, runs+"another")
		}, ""},
		{"where all threads were stopped after it took another", func(p *play) {
			p.leave(11, pool, worker, Lock)
			p.handoff(12, server, "main view import", pool)
			p.resume(12, pool)
			p.sample(14, pool, runs+"another")
		}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.read(10, 1, server, "/")
			p.sample(11, server, "main view")
			test.play(p)
			p.write(20, 1, server, "main view")
			tree := draw(p.told["/"].Frames)
			for _, name := range []string{"before", "job", "another"} {
				if shown := strings.Contains(tree, " "+name+" "); shown != (name == test.want) {
					t.Errorf("%s: %v in\n%s", name, shown, tree)
				}
			}
		})
	}
}

// TestLockAmongServers has threads that wait on a queue for connections, and whose requests wait for each other's locks, in a request
// and after its answer.
func TestLockAmongServers(t *testing.T) {
	const serve = "_bootstrap@threading.py serve "
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.open(3)
	p.read(8, 3, server, "/crowd")
	p.leave(9, pool, serve+"get@queue.py wait@threading.py", Lock)
	p.resume(10, pool)
	p.read(10, 1, pool, "/a")
	p.read(11, 2, other, "/b")
	p.leave(12, other, serve+"b", Lock)
	p.handoff(14, pool, serve+"a", other)
	p.wake(14, other)
	p.resume(14, other)
	p.leave(15, other, serve+"b", Lock)
	p.write(16, 1, pool, serve+"a")
	p.handoff(17, pool, serve+"log", other)
	p.wake(17, other)
	p.resume(17, other)
	p.write(18, 2, other, serve+"b")
	for _, path := range []string{"/a", "/b"} {
		if p.told[path].Undecided {
			t.Errorf("%s has no owner", path)
		}
	}
}

// TestPoolUnseen has a thread that waits since before anything was asked take the work of two requests in a row, of which it was
// woken for the first.
func TestPoolUnseen(t *testing.T) {
	const loop = "_bootstrap@threading.py loop "
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(10, 1, server, "/a")
	p.read(11, 2, other, "/b")
	p.handoff(12, server, "main put notify@threading.py", pool)
	p.leave(12, server, "main done wait@threading.py", Lock)
	p.resume(13, pool)
	p.sample(14, pool, loop+"forA")
	p.handoff(16, pool, loop+"set notify@threading.py", server)
	p.sample(18, pool, loop+"forB")
	p.resume(19, server)
	p.write(20, 1, server, "main")
	p.leave(22, pool, loop+"get@queue.py wait@threading.py", Lock)
	p.write(24, 2, other, "main")
	x := p.told["/a"]
	if !x.Undecided || strings.Contains(draw(x.Frames), "forB") {
		t.Errorf("undecided %v:\n%s", x.Undecided, draw(x.Frames))
	}
}

// TestPoolAlwaysAtWork has a thread, which was at work before anything was asked and never waits for any, notify who waits for
// its answer.
func TestPoolAlwaysAtWork(t *testing.T) {
	const loop = "_bootstrap@threading.py loop "
	tests := []struct {
		name, notifies string
		started        bool // for the request that waits
		unsure         bool
	}{
		{"of a pool", loop + "set notify@threading.py", false, true},
		{"of an executor", runs + "set_result@concurrent/futures/_base.py notify@threading.py", false, false},
		{"of processes", "_bootstrap@threading.py run@concurrent/futures/process.py set_result@concurrent/futures/_base.py notify@threading.py", false, false},
		{"lets a lock go", loop + "release", false, false},
		{"started for it", loop + "set notify@threading.py", true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.open(2)
			p.read(10, 1, server, "/a")
			p.read(11, 2, other, "/b")
			if test.started {
				p.tracer.Thread(server, server, 12*ms, p.stack("main start"), pool)
			}
			p.leave(13, server, "main done wait@threading.py", Lock)
			p.handoff(16, pool, test.notifies, server)
			p.resume(17, server)
			p.write(18, 1, server, "main")
			if x := p.told["/a"]; x.Undecided != test.unsure {
				t.Errorf("undecided %v:\n%s", x.Undecided, draw(x.Frames))
			}
		})
	}
}
