package trace

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFoldKeepsTimes compares what requests see of a lane before and after it is folded.
func TestFoldKeepsTimes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	stacks := []*Context{nil, {depth: 1}, {depth: 1}, {depth: 1}}
	for range 100 {
		var l lane
		points := []uint64{uint64(random.IntN(200)), uint64(200 + random.IntN(400)), uint64(600 + random.IntN(400))}
		for at := uint64(0); at < 1000; {
			to := at + uint64(1+random.IntN(5))
			l.add(slice{from: at, to: to, stack: stacks[random.IntN(len(stacks))], why: Reason(random.IntN(2)), stacks: 1})
			at = to
		}
		whole := lane{slices: append([]slice(nil), l.slices...)}
		l.fold(slices.Values(points))
		if len(l.slices) >= len(whole.slices) {
			t.Fatalf("%d slices of %d are left", len(l.slices), len(whole.slices))
		}
		for i, from := range points {
			for _, to := range points[i+1:] {
				for _, s := range stacks {
					if got, want := l.spent(s, from, to), whole.spent(s, from, to); got != want {
						t.Fatalf("%d of %d ns from %d to %d", got, want, from, to)
					}
				}
			}
		}
	}
}

// TestFoldJobs folds what was done for jobs for which no request will ask, and nothing else.
func TestFoldJobs(t *testing.T) {
	const rounds, none, asked, forgotten, old = 100, 0, 8, 16, 24
	var giver, l lane
	for _, j := range []*job{{item: old, from: 1}, {item: forgotten, from: 5}, {item: asked, from: 6}} {
		giver.jobs = append(giver.jobs, j)
		l.does(j)
	}
	at := uint64(10)
	for range rounds {
		for _, item := range []uint64{none, asked, forgotten, old} {
			l.add(slice{from: at, to: at + 1, item: item})
			at++
		}
	}
	giver.forgetJobs(2)
	l.forget(2)
	l.fold(slices.Values([]uint64{2}))
	times := map[uint64]uint64{}
	for i := range l.slices {
		times[l.slices[i].item] += l.slices[i].time
	}
	if want := map[uint64]uint64{none: rounds, asked: rounds, pastJobs: 2 * rounds}; !maps.Equal(times, want) || len(l.slices) != len(want) {
		t.Errorf("%d slices of jobs %v, want %v", len(l.slices), times, want)
	}
}

func (l *lane) spent(stack *Context, from, to uint64) (time uint64) {
	for i := range l.slices {
		if s := &l.slices[i]; s.stack == stack {
			time += s.within(from, to)
		}
	}
	return time
}

// TestLongRequest samples one request more often than a lane may have slices.
func TestLongRequest(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(1, 1, server, "/")
	const samples = 100_000
	for i := range uint64(samples) {
		p.sample(2+i, server, []string{"main a", "main b"}[i%2])
	}
	th := p.tracer.processes[server].thread(server)
	if n := len(th.home.slices); n > 2*shareMax {
		t.Errorf("%d slices", n)
	}
	p.write(2+samples, 1, server, "main")
}

// TestManyConnections has a request open for long while others are served on many connections, each by a task of its own.
func TestManyConnections(t *testing.T) {
	const conns, rounds = 300, 200
	p := newPlay(t)
	p.open(1)
	p.read(1, 1, server, "/stays-open")
	at := uint64(2)
	for conn := range uint64(conns) {
		p.open(2 + conn)
	}
	for range rounds {
		for conn := range uint64(conns) {
			task := fmt.Sprintf("*c%d", conn)
			p.read(at, 2+conn, server, "/")
			p.step(at+1, server, task, false)
			p.step(at+2, server, task+" view", false)
			p.write(at+3, 2+conn, server, "loop "+task)
			at += 4
		}
	}
	proc := p.tracer.processes[server]
	if n := len(proc.thread(server).home.slices); n > shareMax {
		t.Errorf("%d slices of what lies below the tasks are kept", n)
	}
	kept, most := 0, 0
	for _, l := range proc.tasks {
		kept, most = kept+len(l.slices), max(most, len(l.slices))
	}
	if kept > 2*slicesMax || most > 2*shareMin {
		t.Errorf("%d slices are kept, %d of one task", kept, most)
	}
}

// TestManyWaitingTasks has so many tasks wait that to look which could be forgotten would cost more than all else.
func TestManyWaitingTasks(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(1, 1, server, "/")
	for i := range uint64(2 * lanesMax) {
		p.tracer.Step(server, server, 2*ms+i, Step{Coroutine: 1<<32 + 64*i, Chain: []Frame{{Func: p.fn("waits")}}})
	}
	p.task(10, server, "loop", "view")
	if proc := p.tracer.processes[server]; len(proc.tasks) > proc.lanesLimit {
		t.Errorf("each new one of %d tasks has all looked at", len(proc.tasks))
	}
}

// TestFoldWaitingRequest has a request wait for a thread that works for another. So much is told of the thread that it is
// folded, when nothing else is known of the moment at which it was free: there the request's own work begins.
func TestFoldWaitingRequest(t *testing.T) {
	p := newPlay(t)
	const long, poller, worker, other = 1, 2, 3, 4
	for conn := range uint64(3) {
		p.open(conn + 1)
	}
	p.read(1, 1, long, "/long")
	p.read(2, 2, poller, "/before")
	p.read(2, 3, poller, "/waits")
	p.leave(3, worker, "main get@queue.py wait@threading.py", Lock)
	p.resume(4, worker)
	at := uint64(5)
	works := func(until uint64) {
		for ; at < until; at++ {
			p.sample(at, worker, "main "+[]string{"a", "b"}[at%2])
		}
	}
	works(shareMax / 2)
	free := at
	p.write(free, 2, worker, "main a")
	p.read(free+1, 2, other, "/next")
	p.write(free+2, 2, other, "main c")
	works(3 * shareMax)
	p.write(at, 3, worker, "main a")
	times := map[string]uint64{}
	for _, f := range p.told["/waits"].Frames {
		times[f.Function] = uint64(f.Time) / ms
	}
	if waits := times["[runqueue]"]; waits != free-2 {
		t.Errorf("it waits for %d ms, want %d: %v", waits, free-2, times)
	}
}
