package trace

import (
	"testing"

	"apm-ebpf/internal/http1"
)

// TestHelperGreenlets has tasks run functions in greenlets, as SQLAlchemy does: the thread's own greenlet stays its event
// loop, whose callbacks answer for the tasks.
func TestHelperGreenlets(t *testing.T) {
	const own, helper = 0x100, 0x200
	p := newPlay(t)
	p.open(1)
	p.open(2)
	loop := "<module> loop@asyncio/events.py "
	for i, name := range []string{"a", "b"} {
		at := uint64(10 + i)
		p.root = own
		p.read(at, uint64(1+i), server, "/"+name)
		p.task(at, server, loop+"data_received", name)
	}
	p.step(12, server, "*a", false)
	p.spawn(13, server, own, loop+"*a spawn", helper)
	p.greenlet(13, server, own, loop+"*a spawn", helper)
	p.greenlet(17, server, helper, "query", own)
	p.step(18, server, "*b", false)
	p.sample(19, server, loop+"*b work")
	p.step(20, server, "*a spawn", false)
	p.greenlet(20, server, own, loop+"*a spawn", helper)
	p.greenlet(22, server, 0, "", own) // returned
	p.sample(23, server, loop+"*a spawn")
	p.leave(24, server, loop, Poll)
	p.resume(26, server)
	p.write(27, 1, server, loop)
	p.write(28, 2, server, loop)
	p.wants("/a", `
<module> 17
  loop 17
    a 15
      [await] 3
      spawn 10.5
        [greenlet] 9
          query 9
            [await] 3
        [await] 9
    [runqueue] 2`)
	for path, x := range p.told {
		for _, f := range x.Frames {
			if x.Undecided || path == "/b" && f.Function == "query" {
				t.Errorf("%s is told with %s:\n%s", path, f.Function, draw(x.Frames))
			}
		}
	}
}

// TestUnanswered has clients hang up while others' tasks run.
func TestUnanswered(t *testing.T) {
	p := newPlay(t)
	loop := "<module> loop@asyncio/events.py "
	for i, name := range []string{"a", "b", "c"} {
		at := uint64(10 + i)
		p.open(uint64(1 + i))
		p.read(at, uint64(1+i), server, "/"+name)
		if name != "c" { // that is another's, which was there before
			p.task(at, server, loop+"data_received", name)
		}
	}
	p.step(13, server, "*a", false)
	p.sample(14, server, loop+"*a work")
	p.step(15, server, "*b", false)
	for conn := range uint64(3) {
		p.tracer.Close(1+conn, http1.PeerGone, (20+conn)*ms)
	}
	for path, undecided := range map[string]bool{"/a": false, "/b": false, "/c": true} {
		x := p.told[path]
		if x == nil || x.Undecided != undecided {
			t.Fatalf("%s is told as %v", path, x)
		}
		for _, f := range x.Frames {
			if other := map[string]string{"/a": "b", "/b": "a"}[path]; f.Function == other || undecided && f.Function == "a" {
				t.Errorf("%s is told with another's functions:\n%s", path, draw(x.Frames))
			}
		}
	}
}

// TestUnansweredGreenlet has a client hang up while another's greenlet runs.
func TestUnansweredGreenlet(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.greenlet(1, server, hub, "hub", one)
	p.read(10, 2, server, "/stays-open")
	p.greenlet(11, server, one, "serve wait", hub)
	p.greenlet(12, server, hub, "hub", two)
	p.greenlet(13, server, two, "serve", hub)
	p.greenlet(14, server, hub, "hub", two)
	p.read(15, 1, server, "/gone")
	p.greenlet(17, server, two, "serve ours wait", hub)
	p.greenlet(18, server, hub, "hub", one)
	p.sample(20, server, "serve others")
	p.tracer.Close(1, http1.PeerGone, 22*ms)
	p.wants("/gone", `
serve 7
  ours 5
    wait 5
      [await] 5`)
}
