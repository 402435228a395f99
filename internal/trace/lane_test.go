package trace

import (
	"math/rand/v2"
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
		l.fold(points)
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
	if n := len(th.home.slices); n > 2*foldAt {
		t.Errorf("%d slices", n)
	}
	p.write(2+samples, 1, server, "main")
}
