package trace

import (
	"slices"
	"testing"
)

const (
	calls  = "loop@asyncio/events.py _run@asyncio/events.py "
	copies = " call_soon@asyncio/base_events.py __init__@asyncio/events.py"
)

// copied has a task, or what runs in a Context, copy that.
func (p *play) copied(at uint64, tid uint32, within uint64, stack string, context uint64) {
	s := p.stack(stack)
	s.Work = within
	p.tracer.Copied(server, tid, at*ms, s, context)
}

// within samples what runs in a Context.
func (p *play) within(at, context uint64, stack string) {
	s := p.stack(stack)
	s.Work = context
	p.tracer.Sample(server, server, at*ms, s)
}

// twoTasks has two requests be read, each with a task that serves it, of which the first has begun.
func twoTasks(t *testing.T) *play {
	p := newPlay(t)
	p.fn("loop@asyncio/events.py").ShortFile = "asyncio/events.py"
	for i, name := range []string{"a", "b"} {
		conn := uint64(1 + i)
		p.open(conn)
		p.read(10, conn, server, "/"+name)
		p.task(10, server, calls+"data_received", name)
	}
	p.step(10, server, "*a", false)
	return p
}

// answer has both tasks answer.
func (p *play) answer() {
	p.step(30, server, "*a", false)
	p.write(30, 1, server, calls+"*a")
	p.step(31, server, "*b", true)
	p.write(31, 2, server, calls+"*b")
}

func (p *play) functions(path string) (names []string) {
	for _, f := range p.told[path].Frames {
		names = append(names, f.Function)
	}
	return names
}

// TestCallbacks has two tasks give callbacks to their event loop, one of which makes a task, and goes on in another.
func TestCallbacks(t *testing.T) {
	p := twoTasks(t)
	p.copied(12, server, 1, calls+"*a gives"+copies, 0xa)
	p.step(12, server, "*b", false)
	p.copied(14, server, 2, calls+"*b gives"+copies, 0xb)
	p.leave(14, server, calls+"*b gives", RunQueue)
	p.resume(15, server)
	p.step(15, server, "*other", false)
	p.leave(15, server, "loop@asyncio/events.py", Poll)
	p.resume(16, server)
	p.within(16, 0xa, calls+"ours")
	p.task(17, server, calls+"ours", "nobodys") // that runs in no Context which is known
	s := p.stack(calls + "ours makes")
	s.Work = 0xa
	p.tracer.Task(server, server, 18*ms, s, p.coroutine("made"), 0)
	p.copied(18, server, 0xa, calls+"ours"+copies, 0xc)
	p.within(20, 0xb, calls+"others")
	p.step(22, server, "*made", false)
	p.sample(23, server, calls+"*made work")
	p.leave(24, server, "loop@asyncio/events.py", Poll)
	p.resume(25, server)
	p.within(25, 0xc, calls+"goes_on")
	p.within(26, 0xc, calls+"goes_on")
	p.answer()
	for path, others := range map[string][]string{"/a": {"others"}, "/b": {"ours", "made", "goes_on"}} {
		own := map[string][]string{"/a": {"ours", "made", "goes_on"}, "/b": {"others"}}[path]
		told := p.functions(path)
		for _, name := range own {
			if !slices.Contains(told, name) {
				t.Errorf("%s lacks %s:\n%s", path, name, draw(p.told[path].Frames))
			}
		}
		for _, name := range append(others, "nobodys") {
			if slices.Contains(told, name) {
				t.Errorf("%s is told with %s:\n%s", path, name, draw(p.told[path].Frames))
			}
		}
	}
}

// TestCallbacksOfNobody has an event loop call what was given to it before copies of Contexts were seen: by whom, nothing
// tells.
func TestCallbacksOfNobody(t *testing.T) {
	p := twoTasks(t)
	p.fn("callback").App = true
	p.fn("data_received").App = true
	p.step(11, server, "*b", false)
	p.sample(12, server, calls+"data_received") // whoever waits for it
	if p.tracer.UntoldCallbacks(func(pid uint32) { t.Errorf("process %d is said to call back", pid) }); t.Failed() {
		return
	}
	p.within(13, 0xa, calls+"callback")
	for range 2 {
		p.tracer.UntoldCallbacks(func(uint32) { p.tracer.SeesContexts(server, 20*ms) })
	}
	p.open(3)
	p.read(21, 3, server, "/later")
	p.task(21, server, calls+"data_received", "later")
	p.within(22, 0xa, calls+"callback")
	p.step(23, server, "*later", false)
	p.write(24, 3, server, calls+"*later")
	p.answer()
	for path, undecided := range map[string]bool{"/a": true, "/b": true, "/later": false} {
		if x := p.told[path]; x.Undecided != undecided || slices.Contains(p.functions(path), "callback") {
			t.Errorf("%s: undecided %v, told as\n%s", path, x.Undecided, draw(x.Frames))
		}
	}
}

// TestBatchOfNobody has an event loop make a task of a coroutine that was given to it before copies of Contexts were seen.
func TestBatchOfNobody(t *testing.T) {
	p := twoTasks(t)
	p.fn("ensure_future@asyncio/tasks.py").ShortFile = "asyncio/tasks.py"
	p.fn("done@asyncio/tasks.py").ShortFile = "asyncio/tasks.py"
	p.task(11, server, calls+"done@asyncio/tasks.py", "asyncio's")
	p.step(12, server, "*asyncio's", false)
	if p.tracer.UntoldCallbacks(func(pid uint32) { t.Errorf("process %d is said to call back", pid) }); t.Failed() {
		return
	}
	p.task(13, server, calls+"ensure_future@asyncio/tasks.py", "batch")
	p.step(14, server, "*batch", false)
	said := false
	p.tracer.UntoldCallbacks(func(uint32) { said = true })
	p.answer()
	for _, path := range []string{"/a", "/b"} {
		if x := p.told[path]; !said || !x.Undecided || slices.Contains(p.functions(path), "batch") {
			t.Errorf("said %v; %s: undecided %v, told as\n%s", said, path, x.Undecided, draw(x.Frames))
		}
	}
}

// TestContextsOfConnections has a request's task open a connection on which others' answers come too, and a Context's
// address be another's.
func TestContextsOfConnections(t *testing.T) {
	p := twoTasks(t)
	p.tracer.SeesContexts(server, 1*ms)
	p.copied(11, server, 1, calls+"*a connects _add_reader@asyncio/selector_events.py __init__@asyncio/events.py", 0xa)
	p.copied(11, server, 1, calls+"*a connects", 0xb)
	p.copied(11, server, 1, calls+"*a connects"+copies, 0xc)
	p.step(12, server, "*b", false)
	p.leave(12, server, "loop@asyncio/events.py", Poll)
	p.resume(13, server)
	p.within(13, 0xa, calls+"decode")
	p.within(14, 0xb, calls+"Client.data_received decode")
	p.within(15, 0xb, calls+"decode")
	p.within(16, 0xc, calls+"once")
	p.leave(17, server, "loop@asyncio/events.py", Poll)
	p.resume(18, server)
	p.within(18, 0xc, calls+"another")
	p.answer()
	if told := p.functions("/a"); slices.Contains(told, "decode") || slices.Contains(told, "another") || !slices.Contains(told, "once") {
		t.Errorf("told as\n%s", draw(p.told["/a"].Frames))
	}
}
