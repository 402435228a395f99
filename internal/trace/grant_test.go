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
