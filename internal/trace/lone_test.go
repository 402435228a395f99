package trace

import "testing"

// TestLone has a thread that is none of Python's read and answer a request for which it has an event loop make a task.
func TestLone(t *testing.T) {
	const rust = server + 1
	for name, c := range map[string]struct {
		beside       func(p *play) // what happens meanwhile
		loop, caller string
		undecided    bool
	}{
		"alone":               {func(*play) {}, "loop@asyncio/events.py ", "create_task@asyncio/base_events.py", false},
		"in C":                {func(*play) {}, "serve ", "", false},
		"by the application":  {func(*play) {}, "loop@asyncio/events.py ", "timer create_task@asyncio/base_events.py", true},
		"beside another task": {func(p *play) { p.task(13, server, "loop@asyncio/events.py", "other") }, "loop@asyncio/events.py ", "", true},
		"beside another request": {func(p *play) {
			p.open(2)
			p.read(13, 2, rust, "/other")
		}, "loop@asyncio/events.py ", "", true},
	} {
		p := newPlay(t)
		for _, file := range []string{"loop@asyncio/events.py", "create_task@asyncio/base_events.py"} {
			p.fn(file).ShortFile = p.fn(file).File[1:]
		}
		p.open(1)
		p.read(10, 1, rust, "/")
		p.task(12, server, c.loop+c.caller, "view")
		p.step(12, server, "*view", false)
		c.beside(p)
		p.sample(14, server, c.loop+"*view")
		p.step(16, server, "*other", false)
		p.step(18, server, "*view sleep", false)
		p.leave(19, server, c.loop, Poll)
		p.tracer.Write(server, rust, 20*ms, &Stack{Foreign: true})
		p.sent(20, 1, rust, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if x := p.told["/"]; x.Undecided != c.undecided {
			t.Errorf("%s: undecided %v, told as\n%s", name, x.Undecided, draw(x.Frames))
		}
	}
}
