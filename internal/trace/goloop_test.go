package trace

import (
	"testing"

	"apm-ebpf/internal/goroutine"
)

// polls has an event loop's goroutine wait for descriptors.
func (p *play) polls(at, goid uint64) {
	p.tracer.GoSwitchOut(server, server, Goroutine{ID: goid}, at*ms, p.stack("loop syscall.EpollWait"), Poll)
}

// startsForLoop has a goroutine seen that waits since an event loop started it, which was not there at after.
func (p *play) startsForLoop(after, at, loop, goid uint64, stack string) {
	p.sight(goroutine.Sight{
		After: after, Time: at, GoID: goid, Root: loop, Parent: loop, Left: goroutine.NotKnown, State: goroutine.Waiting, Why: "sleep",
	}, stack, Frame{Func: p.fn("loop")})
}

// TestGoEventLoop has a goroutine read for two connections, and others answer: who that was tells whose a request was, the
// first time too.
func TestGoEventLoop(t *testing.T) {
	p := newPlay(t)
	p.goRead(10, 1, handler, "/a")
	p.polls(11, handler)
	p.startsForLoop(9, 12, handler, 21, "worker a")
	p.tracer.SwitchIn(server, server, 14*ms)
	p.goRead(14, 2, handler, "/b")
	p.polls(15, handler)
	p.startsForLoop(13, 16, handler, 22, "worker b")
	p.looked(20)
	p.goWrite(20, 1, 21)
	p.wants("/a", `
worker 10
  a 10
    [sleep] 10`)
	p.tracer.SwitchIn(server, server, 22*ms)
	p.goRead(22, 1, handler, "/c") // for which goroutine 21 goes on
	p.polls(23, handler)
	p.parked(21, 23, 21, "worker c", "chan receive", 1)
	p.looked(24)
	p.goWrite(24, 2, 22)
	p.wants("/b", `
worker 10
  b 10
    [sleep] 10`)
	p.looked(30)
	p.goWrite(30, 1, 21)
	p.wants("/c", `
worker 8
  c 8
    [chan receive] 8`)
}

// TestGoHandsOn has a goroutine that is soon no more read what another answers, which was found late.
func TestGoHandsOn(t *testing.T) {
	p := newPlay(t)
	p.goRead(10, 1, handler, "/")
	p.seen(0, 11, handler, goroutine.Dead, 0)
	p.sight(goroutine.Sight{Time: 14, GoID: 21, State: goroutine.Waiting, Why: "sleep"}, "worker a")
	p.looked(20)
	p.goWrite(20, 1, 21)
	p.wants("/", `
worker 10
  [not sampled] 4
  a 6
    [sleep] 6`)
	if r := p.told["/"]; !r.Imprecise || !r.Looped {
		t.Errorf("imprecise %v, looped %v", r.Imprecise, r.Looped)
	}
}

// TestGoEventLoopWritesForOthers has an event loop write what others have given it, from the first answer on.
func TestGoEventLoopWritesForOthers(t *testing.T) {
	p := newPlay(t)
	p.goRead(10, 1, handler, "/a")
	p.polls(11, handler)
	p.tracer.SwitchIn(server, server, 14*ms)
	p.goWrite(15, 1, handler)
	p.goRead(20, 1, handler, "/b")
	p.goRead(21, 2, handler, "/c")
	p.goWrite(22, 1, handler)
	p.goWrite(23, 2, handler)
	for path, undecided := range map[string]bool{"/a": true, "/b": true, "/c": false} {
		if p.told[path].Undecided != undecided {
			t.Errorf("%s is undecided: %v", path, !undecided)
		}
	}
}

// TestGoEventLoopAnswers has the event loop write answers itself: at once, so that it served the request, or having waited,
// so that another did.
func TestGoEventLoopAnswers(t *testing.T) {
	p := newPlay(t)
	p.goRead(10, 1, handler, "/a")
	p.polls(11, handler)
	p.goWrite(20, 1, 21)
	p.tracer.SwitchIn(server, server, 30*ms)
	p.goRead(30, 1, handler, "/b")
	p.goSample(32, handler, "loop b")
	p.goWrite(34, 1, handler)
	p.wants("/b", `
loop 4
  b 4`)
	p.goRead(40, 1, handler, "/c")
	p.polls(41, handler)
	p.tracer.SwitchIn(server, server, 44*ms)
	p.goWrite(45, 1, handler)
	if !p.told["/c"].Undecided {
		t.Error("what another has done is told of the event loop")
	}
}
