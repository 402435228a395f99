package trace

import (
	"strings"
	"testing"

	"apm-ebpf/internal/http1"
)

// TestTurns has a thread read several heads before it answers any.
func TestTurns(t *testing.T) {
	const server, app = "main serve#7", "main serve#7 "
	serve := func(p *play, write string) {
		p.open(1)
		p.open(2)
		p.read(10, 1, 100, "/a")
		p.sample(12, 100, app+"a")
		p.read(20, 2, 100, "/b")
		p.sample(22, 100, app+"b")
		p.write(30, 1, 100, write)
		p.write(32, 2, 100, write)
	}
	t.Run("it runs handlers below the call that serves", func(t *testing.T) {
		p := newPlay(t)
		serve(p, server)
		p.wants("/a", "main 20\n  [runqueue] 10\n  serve 10\n    a 10")
		p.wants("/b", "main 12\n  [runqueue] 2\n  serve 10\n    b 10")
	})
	t.Run("it is seen in that call between a handler and the answer", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.open(2)
		p.read(10, 1, 100, "/a")
		p.sample(12, 100, app+"a")
		p.read(20, 2, 100, "/b")
		p.sample(22, 100, app+"b")
		p.sample(28, 100, server)
		p.write(30, 1, 100, server)
		p.write(32, 2, 100, server)
		for _, path := range []string{"/a", "/b"} {
			if p.told[path].Undecided {
				t.Errorf("%s has no owner", path)
			}
		}
	})
	t.Run("it may run them at any time", func(t *testing.T) {
		p := newPlay(t)
		serve(p, "main serve#8")
		for _, path := range []string{"/a", "/b"} {
			if !p.told[path].Undecided {
				t.Errorf("%s has an owner", path)
			}
		}
	})
	t.Run("another answer comes between the parts of one", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.open(2)
		p.read(10, 1, 100, "/a")
		p.sample(12, 100, app+"a")
		p.tracer.Write(100, 100, 14*ms, p.stack(server))
		p.sent(14, 1, 100, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
		p.read(20, 2, 100, "/b")
		p.sample(22, 100, app+"b")
		p.write(24, 2, 100, server)
		p.sent(26, 1, 100, "ok")
		p.wants("/a", "main 16\n  [runqueue] 6\n  serve 4\n    a 4")
		p.wants("/b", "main 4\n  serve 4\n    b 4")
	})
	t.Run("two threads answer on one connection", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		heads := "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n"
		p.tracer.Received(&Transfer{
			Connection: 1, Begun: 10 * ms, Begins: true, Sampled: true, PID: 100, TID: 101, Time: 10 * ms,
			Chunk: http1.Chunk{Head: []byte(heads), Len: len(heads)},
		})
		p.write(12, 1, 101, "main")
		p.write(14, 1, 102, "main")
		p.write(16, 1, 101, "main")
		if p.told["/c"].Undecided {
			t.Errorf("/c has no owner")
		}
	})
}

// TestOthersGoOn has a thread begin answers that another, which reads the requests, goes on with while their clients are slow.
func TestOthersGoOn(t *testing.T) {
	const worker = server + 1
	for name, rests := range map[string]bool{"it rests between": true, "it has more to do at once": false} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.open(2)
			p.read(10, 1, server, "/a")
			p.handoff(11, server, "main notify", worker)
			p.sample(12, worker, "boot loop forA")
			p.tracer.Write(server, worker, 14*ms, p.stack("boot loop forA"))
			p.sent(14, 1, worker, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
			p.sample(16, worker, "boot loop forA")
			p.read(16, 2, server, "/b")
			if rests {
				p.leave(18, worker, "boot loop get@queue.py wait@threading.py", Lock)
				p.resume(22, worker)
			}
			p.sample(24, worker, "boot loop forB")
			p.write(26, 2, worker, "boot loop forB")
			p.sent(30, 1, server, "ok")
			a, b := p.told["/a"], p.told["/b"]
			if a.Undecided == rests || b.Undecided == rests {
				t.Errorf("told as\n%s%s", draw(a.Frames), draw(b.Frames))
			}
			for own, x := range map[string]*told{"forA": a, "forB": b} {
				for _, f := range x.Frames {
					if strings.HasPrefix(f.Function, "for") && f.Function != own {
						t.Errorf("%s is told with %s", x.Target, f.Function)
					}
				}
			}
		})
	}
}

// TestBusyBefore has a thread answer what another has read while it was at work for who knows whom, as where the agent comes in the
// midst of a load.
func TestBusyBefore(t *testing.T) {
	const worker = server + 1
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(10, 1, server, "/a")
	p.sample(12, worker, "boot loop forNobody")
	p.sample(14, worker, "boot loop forA")
	p.write(16, 1, worker, "boot loop forA")
	p.read(16, 2, server, "/b")
	p.sample(18, worker, "boot loop forB")
	p.write(20, 2, worker, "boot loop forB")
	if !p.told["/a"].Undecided || p.told["/b"].Undecided {
		t.Errorf("told as\n%s%s", draw(p.told["/a"].Frames), draw(p.told["/b"].Frames))
	}
}
