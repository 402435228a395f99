package trace

import (
	"slices"
	"testing"
)

const (
	trioLoop = "run@trio/_core/_run.py "
	spawns   = " start_soon spawn_impl@trio/_core/_run.py"
	hands    = " to_thread_run_sync@trio/_threads.py"
)

// playTrio has requests be read by tasks of connections, whose steps are told.
func playTrio(t *testing.T, paths ...string) *play {
	p := newPlay(t)
	p.fn("run@trio/_core/_run.py").ShortFile = "trio/_core/_run.py"
	for i, path := range paths {
		conn := uint64(1 + i)
		p.open(conn)
		p.read(10, conn, server, path)
	}
	p.tracer.SeesSteps(server, 1*ms)
	return p
}

// goesOn begins the step of a task in its Context.
func (p *play) goesOn(at uint64, chain string, context uint64, done bool) {
	frames := p.stack(chain).Frames
	p.tracer.Step(server, server, at*ms, Step{Coroutine: frames[0].Task, Chain: frames, Context: context, LastDone: done})
}

// TestTrio has a task start another and hand work to a thread, and then another task use the Context's address for a thread
// of its own.
func TestTrio(t *testing.T) {
	p := playTrio(t, "/a", "/b")
	p.copied(10, server, 1, trioLoop+"*first"+spawns, 0xa)
	p.copied(10, server, 1, trioLoop+"*second"+spawns, 0xb)
	p.goesOn(12, "*a", 0xa, false)
	p.sample(13, server, trioLoop+"*a")
	p.copied(14, server, 0xa, trioLoop+"*a"+spawns, 0xc)
	p.copied(15, server, 0xa, trioLoop+"*a"+hands, 0xd)
	p.goesOn(16, "*kid", 0xc, false)
	p.leave(18, server, trioLoop, Poll)
	p.threadIn(19, 0xd, "ours")
	p.resume(22, server)
	p.goesOn(22, "*a"+hands, 0xa, true)
	p.sample(23, server, trioLoop+"*a")
	p.goesOn(24, "*b", 0xb, false)
	p.copied(25, server, 0xb, trioLoop+"*b"+hands, 0xd)
	p.leave(25, server, trioLoop, Poll)
	p.threadIn(26, 0xd, "others")
	p.resume(28, server)
	p.goesOn(28, "*a sleep", 0xa, false)
	p.write(30, 1, server, trioLoop+"*a")
	p.goesOn(32, "*b"+hands, 0xb, true)
	p.write(34, 2, server, trioLoop+"*b")
	for path, own := range map[string][]string{"/a": {"kid", "ours", "sleep"}, "/b": {"others"}} {
		x, told := p.told[path], p.functions(path)
		for _, name := range []string{"kid", "ours", "sleep", "others"} {
			if slices.Contains(told, name) != slices.Contains(own, name) {
				t.Errorf("%s is told with or without %s:\n%s", path, name, draw(x.Frames))
			}
		}
		if x.Undecided || x.Imprecise {
			t.Errorf("%s: undecided %v, imprecise %v", path, x.Undecided, x.Imprecise)
		}
	}
}

// threadIn has another thread run a function in a Context for a millisecond, and wait for work again.
func (p *play) threadIn(at, context uint64, function string) {
	const thread = server + 1
	s := p.stack("_work@trio/_core/_thread_cache.py " + function)
	s.Work = context
	p.tracer.SwitchIn(server, thread, at*ms)
	p.tracer.Sample(server, thread, at*ms+ms/2, s)
	p.tracer.SwitchOut(server, thread, (at+1)*ms, p.stack("_work@trio/_core/_thread_cache.py"), Lock)
}

// TestTrioUnseen has tasks of trio run whose steps nothing tells yet.
func TestTrioUnseen(t *testing.T) {
	p := newPlay(t)
	p.fn("run@trio/_core/_run.py").ShortFile = "trio/_core/_run.py"
	p.open(1)
	p.read(10, 1, server, "/early")
	p.sample(12, server, trioLoop+"*early")
	told := 0
	for range 2 {
		p.tracer.UnseenSteps(func(uint32) { told++; p.tracer.SeesSteps(server, 14*ms) })
	}
	p.open(2)
	p.read(15, 2, server, "/late")
	p.copied(15, server, 1, trioLoop+"*connection"+spawns, 0xb)
	p.goesOn(16, "*late", 0xb, false)
	p.write(18, 2, server, trioLoop+"*late")
	p.write(20, 1, server, trioLoop+"*early")
	for path, unseen := range map[string]bool{"/early": true, "/late": false} {
		if x := p.told[path]; x.Undecided != unseen || x.Imprecise != unseen {
			t.Errorf("%s: undecided %v, imprecise %v:\n%s", path, x.Undecided, x.Imprecise, draw(x.Frames))
		}
	}
	if told != 1 {
		t.Errorf("the process was said to run tasks unseen %d times", told)
	}
}

// TestReceivesItem tells tasks of the application's that take their work from a memory channel from others that receive.
func TestReceivesItem(t *testing.T) {
	p := newPlay(t)
	for _, file := range []string{"__anext__@trio/_abc.py", "receive@trio/_channel.py", "_async_yield@trio/_core/_traps.py"} {
		p.fn(file).ShortFile = p.fn(file).File[1:]
	}
	p.fn("ours").App = true
	const receives = " receive@trio/_channel.py _async_yield@trio/_core/_traps.py"
	for chain, want := range map[string]bool{
		"ours" + receives:                        true,
		"ours __anext__@trio/_abc.py" + receives: true,
		"ours _async_yield@trio/_core/_traps.py": false,
		"ours framework" + receives:              false,
		"handle ours" + receives:                 false,
		"ours receive@app/channel.py":            false,
	} {
		if got := takesItem(p.stack(chain).Frames); got != want {
			t.Errorf("%s: %v", chain, got)
		}
	}
}
