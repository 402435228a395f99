package trace

import (
	"cmp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/http1"
)

func TestRequestsOnOneThread(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/first")
	p.sample(12, server, "main first")
	p.write(14, 1, server, "main first")
	p.leave(15, server, "main idle", Poll)
	p.resume(19, server)
	p.read(20, 1, server, "/second")
	p.sample(22, server, "main second")
	p.write(26, 1, server, "main second")
	p.wants("/first", "main 4\n  first 4")
	p.wants("/second", "main 6\n  second 6")
}

// TestPipelined has one read bring two requests: the second waits for the first.
func TestPipelined(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	heads := "GET /first HTTP/1.1\r\nHost: h\r\n\r\nGET /second HTTP/1.1\r\nHost: h\r\n\r\n"
	p.tracer.Received(&Transfer{
		Connection: 1, Begun: 10 * ms, Begins: true, Sampled: true, PID: server, TID: server, Time: 10 * ms,
		Chunk: http1.Chunk{Head: []byte(heads), Len: len(heads)},
	})
	p.sample(12, server, "main first")
	p.write(14, 1, server, "main first")
	p.sample(16, server, "main second")
	p.write(20, 1, server, "main second")
	p.wants("/first", "main 4\n  first 4")
	p.wants("/second", "main 10\n  [runqueue] 4\n  second 6")
}

func TestCutShort(t *testing.T) {
	tests := []struct {
		name string
		end  func(p *play)
		cut  Cut
	}{
		{"the process exits", func(p *play) { p.tracer.Exit(server, 20*ms) }, TargetExited},
		{"the agent stops", func(p *play) { p.tracer.Stop(20 * ms) }, AgentStopped},
		{"the connection closes", func(p *play) { p.tracer.Close(1, http1.Closed, 20*ms) }, NotCut},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.read(10, 1, server, "/")
			p.sample(12, server, "main a")
			p.leave(14, server, "main b", Sleep)
			test.end(p)
			p.wants("/", "main 10\n  b 6\n    [sleep] 6\n  a 4")
			if got := p.told["/"].Cut; got != test.cut {
				t.Errorf("cut %d, want %d", got, test.cut)
			}
		})
	}
}

// TestFailedWrites has writes of an answer fail: where others may follow, the request goes on.
func TestFailedWrites(t *testing.T) {
	for errno, final := range map[unix.Errno]bool{unix.EINTR: false, 512: false, unix.EPIPE: true, unix.ECONNRESET: true} {
		p := newPlay(t)
		p.open(1)
		p.read(10, 1, server, "/")
		p.sample(12, server, "main view")
		p.tracer.Sent(&Transfer{Connection: 1, PID: server, TID: server, Time: 14 * ms, Chunk: http1.Chunk{Len: -int(errno)}})
		p.write(20, 1, server, "main view")
		if x := p.told["/"]; x == nil || x.ClientClosed != final || (x.End == 14*ms) != final {
			t.Errorf("after a write that failed with %d the request is told as %+v", errno, x)
		}
	}
}

// TestUndecided has threads answer of which it can't be told what they did for whom.
func TestUndecided(t *testing.T) {
	t.Run("several heads are read before an answer", func(t *testing.T) {
		p := newPlay(t)
		for conn, path := range []string{"/a", "/b", "/c"} {
			p.open(uint64(conn))
			p.read(uint64(10+conn), uint64(conn), server, path)
			p.sample(uint64(10+conn), server, "main "+path)
		}
		for conn, path := range []string{"/a", "/b", "/c"} {
			p.write(uint64(20+conn), uint64(conn), server, "main")
			if x := p.told[path]; !x.Undecided || len(x.Frames) != 2 {
				t.Errorf("%s is told as %s", path, draw(x.Frames))
			}
		}
	})
	t.Run("no Python", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.read(10, 1, 101, "/")
		p.sample(12, server, "main view")
		p.write(20, 1, 101, "")
		if x := p.told["/"]; !x.Undecided {
			t.Errorf("is told as %s", draw(x.Frames))
		}
	})
	t.Run("another process", func(t *testing.T) { // to which the connection was passed
		p := newPlay(t)
		p.open(1)
		p.read(10, 1, server, "/")
		p.sample(12, server, "main view")
		const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		p.tracer.Sent(&Transfer{Connection: 1, PID: 2 * server, TID: 2 * server, Time: 20 * ms, Chunk: http1.Chunk{Head: []byte(ok), Len: len(ok)}})
		if x := p.told["/"]; !x.Undecided || x.PID != 2*server {
			t.Errorf("is told as %s", draw(x.Frames))
		}
	})
	t.Run("an event loop outside of its tasks", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.read(10, 1, server, "/")
		p.task(11, server, "loop", "view")
		p.step(12, server, "*view", false)
		p.leave(14, server, "loop", Poll)
		p.resume(18, server)
		p.write(20, 1, server, "loop")
		if x := p.told["/"]; !x.Undecided {
			t.Errorf("is told as %s", draw(x.Frames))
		}
	})
}

// TestUnixSockets ends connections of which no event tells the end, and gives those that the kernel programs are to forget.
func TestUnixSockets(t *testing.T) {
	p := newPlay(t)
	for id := uint64(1); id <= 3; id++ {
		p.tracer.Open(Connection{ID: id, PID: server, Inode: 100 + id}, 0)
	}
	p.open(4)
	p.read(10, 1, server, "/vanishes")
	p.read(11, 2, server, "/cut")
	vanish := func(now uint64) []Connection {
		return p.tracer.Vanished(server, map[uint64]bool{102: true, 103: true}, now*ms)
	}
	if gone := vanish(20); len(gone) != 0 {
		t.Errorf("at the first look %v are gone: what was written may be told yet", gone)
	}
	if gone := vanish(40); !slices.Equal(gone, []Connection{{ID: 1, PID: server, Inode: 101}}) {
		t.Errorf("at the second look %v are gone", gone)
	}
	if x := p.told["/vanishes"]; x == nil || x.End != 20*ms {
		t.Errorf("the request on the connection that vanished is told as %v", x)
	}
	gone := p.tracer.Exit(server, 50*ms)
	slices.SortFunc(gone, func(a, b Connection) int { return cmp.Compare(a.ID, b.ID) })
	if !slices.Equal(gone, []Connection{{ID: 2, PID: server, Inode: 102}, {ID: 3, PID: server, Inode: 103}}) {
		t.Errorf("with the process %v are gone", gone)
	}
	if x := p.told["/cut"]; x == nil || x.Cut != TargetExited {
		t.Errorf("the request of the process that exits is told as %v", x)
	}
	if pids, _ := p.tracer.UnixSockets(); len(pids) != 0 {
		t.Errorf("Unix sockets of %v are left", pids)
	}
}
