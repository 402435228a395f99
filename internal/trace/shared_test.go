package trace

import (
	"strings"
	"testing"
)

// TestQueueWorker has a request start a task that takes what an asyncio.Queue gives it. Where another request is open and
// the task outlasts the first, it may have worked for either: its request says so and tells nothing of it.
func TestQueueWorker(t *testing.T) {
	for _, x := range []struct {
		name                string
		others, ends, shown bool
	}{
		{"alone", false, false, true},
		{"shared", true, false, false},
		{"ended", true, true, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := newPlay(t)
			p.fn("worker").App = true
			p.open(1)
			p.open(2)
			p.read(10, 1, server, "/")
			if x.others {
				p.read(10, 2, server, "/other")
			}
			p.task(10, server, "loop", "view")
			p.step(11, server, "*view", false)
			p.task(12, server, "loop *view", "worker")
			p.step(13, server, "*worker", false)
			p.step(14, server, "*view wait", false)
			p.step(16, server, "*worker Queue.get@asyncio/queues.py", false)
			p.sample(17, server, "loop *worker foreign")
			p.step(20, server, "*view wait", x.ends)
			p.write(22, 1, server, "loop *view")
			r := p.told["/"]
			tree := draw(r.Frames)
			if shown := strings.Contains(tree, "foreign"); shown != x.shown || r.Undecided == x.shown {
				t.Errorf("undecided: %v\n%s", r.Undecided, tree)
			}
		})
	}
}

// playGeventPool has two requests give work to a thread of gevent's pool, which the first had started.
func playGeventPool(t *testing.T, caller string) *play {
	const pool = server + 1
	p := newPlay(t)
	p.open(1)
	p.open(2)
	for i, path := range []string{"/1", "/2"} {
		p.read(10, uint64(i+1), server+10+uint32(i), path)
	}
	p.tracer.Thread(server, server+10, 11*ms, p.stack(caller+" _WorkerGreenlet.__init__@gevent/threadpool.py"), pool)
	p.sample(13, pool, "_begin@gevent/threadpool.py work")
	p.tracer.Handoff(server, server+11, 14*ms, p.stack(caller+" Queue.put@gevent/_threading.py"), pool)
	p.sample(15, pool, "_begin@gevent/threadpool.py work")
	for i := range 2 {
		p.write(20, uint64(i+1), server+10+uint32(i), "view")
	}
	return p
}

// TestGeventPool has requests hand work to a thread of gevent's pool, which one of them had started.
func TestGeventPool(t *testing.T) {
	p := playGeventPool(t, "view spawn")
	for _, path := range []string{"/1", "/2"} {
		if tree := draw(p.told[path].Frames); !p.told[path].Undecided || strings.Contains(tree, "work") {
			t.Errorf("%s: undecided: %v\n%s", path, p.told[path].Undecided, tree)
		}
	}
}

// TestGeventLookup has requests look names up, for which one has a thread of gevent's pool started and the other wakes it.
func TestGeventLookup(t *testing.T) {
	lookup := "view Resolver.getaddrinfo@gevent/resolver/thread.py apply@gevent/pool.py spawn@gevent/threadpool.py"
	p := playGeventPool(t, lookup)
	for _, path := range []string{"/1", "/2"} {
		if tree := draw(p.told[path].Frames); p.told[path].Undecided || strings.Contains(tree, "work") {
			t.Errorf("%s: undecided: %v\n%s", path, p.told[path].Undecided, tree)
		}
	}
}
