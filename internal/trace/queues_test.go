package trace

import "testing"

// TestIdleQueues has a server hand requests to its threads by a queue, for so long that this is not looked at, and then one
// of its requests hand on work.
func TestIdleQueues(t *testing.T) {
	const pooled, worker = server + 1, server + 2
	submit := "main submit@concurrent/futures/thread.py"
	handOn := map[string]func(p *play, at uint64){
		"starts a thread": func(p *play, at uint64) { p.tracer.Thread(server, pooled, at*ms, p.stack(submit), worker) },
		"wakes a thread":  func(p *play, at uint64) { p.tracer.Handoff(server, pooled, at*ms, p.stack(submit), worker) },
		"has a thread at work": func(p *play, at uint64) {
			p.sample(at, worker, "run@concurrent/futures/thread.py job")
		},
	}
	for name, handsOn := range handOn {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			request := func(at uint64, path string, during func(p *play, at uint64)) {
				p.read(at, 1, pooled, path)
				if during != nil {
					during(p, at+1)
				}
				p.write(at+3, 1, pooled, "main")
				p.put(at+4, pooled, "main", 7)
			}
			idle := func() (found bool) {
				p.tracer.IdleQueues(func(_ uint32, serves func(int) bool) bool {
					found = serves(int(pooled)) && !serves(int(server)) && !serves(int(worker))
					return found
				})
				return found
			}
			missed := func() (found bool) {
				p.tracer.MissedQueues(func(uint32) { found = true })
				return found
			}
			at := uint64(10)
			next := func() uint64 { at += 10; return at }
			for range idleMin {
				if idle() {
					t.Fatal("queues are idle too soon")
				}
				request(next(), "/", nil)
			}
			if !idle() || idle() {
				t.Fatal("idle queues are not told once")
			}
			request(next(), "/before", nil)
			if missed() {
				t.Fatal("queues are missed without need")
			}
			request(next(), "/first", handsOn)
			request(next(), "/second", nil)
			if !missed() || missed() {
				t.Fatal("missed queues are not told once")
			}
			p.tracer.SeesQueues(server, next()*ms)
			request(next(), "/after", handsOn)
			for path, want := range map[string]bool{"/before": false, "/first": true, "/second": true, "/after": false} {
				if got := p.told[path].Undecided; got != want {
					t.Errorf("%s is undecided: %t, want %t", path, got, want)
				}
			}
		})
	}
}
