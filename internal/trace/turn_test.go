package trace

import (
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
