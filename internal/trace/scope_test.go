package trace

import (
	"net/netip"
	"testing"

	"apm-ebpf/internal/http1"
)

// TestScopes has threads that are none of Python's read requests and answer them. What applications are called with tells on
// which lane each is served.
func TestScopes(t *testing.T) {
	const rust, main, pool = uint32(200), uint32(100), uint32(101)
	answer := func(p *play, at, conn uint64) {
		p.tracer.Write(server, rust, at*ms, &Stack{Foreign: true})
		p.sent(at, conn, rust, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
	scoped := func(p *play, at uint64, path string) {
		p.tracer.Scope(server, pool, at*ms, &Scope{Path: path})
	}
	undecided := func(p *play, paths ...string) {
		p.t.Helper()
		for _, path := range paths {
			if !p.told[path].Undecided {
				p.t.Errorf("%s has an owner", path)
			}
		}
	}
	t.Run("a thread goes from one request to the next", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.open(2)
		p.read(10, 1, rust, "/a")
		p.read(11, 2, rust, "/b%20?x")
		scoped(p, 12, "/a")
		p.leave(12, pool, "run a", Sleep)
		p.resume(20, pool)
		scoped(p, 22, "/b ")
		p.sample(22, pool, "run b")
		answer(p, 23, 1)
		scoped(p, 24, "/b ")
		p.sample(24, pool, "run b")
		p.leave(26, pool, "", Lock)
		answer(p, 30, 2)
		p.wants("/a", "run 13\n  [runqueue] 4\n  a 8\n    [sleep] 8")
		p.wants("/b%20?x", "run 19\n  [runqueue] 14\n  b 5")
	})
	t.Run("several requests have that scope", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.open(2)
		p.read(10, 1, rust, "/a")
		p.read(11, 2, rust, "/a")
		scoped(p, 12, "/a")
		p.sample(12, pool, "run a")
		answer(p, 20, 1)
		undecided(p, "/a")
		scoped(p, 22, "/a") // the other's, for which nothing told what was done before
		p.sample(22, pool, "run a")
		p.leave(23, pool, "", Lock)
		delete(p.told, "/a")
		answer(p, 24, 2)
		undecided(p, "/a")
	})
	t.Run("another comes that has the scope", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.open(2)
		p.read(10, 1, rust, "/a")
		scoped(p, 11, "/a")
		p.sample(11, pool, "run a")
		p.read(12, 2, rust, "/a")
		scoped(p, 14, "/a")
		p.sample(14, pool, "run a")
		answer(p, 20, 1)
		undecided(p, "/a")
	})
	t.Run("nothing tells", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.read(10, 1, rust, "/a")
		p.sample(11, rust, "schedule")
		p.tracer.SwitchOut(server, rust, 12*ms, &Stack{Foreign: true}, Poll)
		answer(p, 20, 1)
		undecided(p, "/a")
	})
	t.Run("the thread itself runs Python for it", func(t *testing.T) {
		p := newPlay(t)
		p.open(1)
		p.read(10, 1, rust, "/a")
		p.sample(15, rust, "handle")
		answer(p, 20, 1)
		p.wants("/a", "handle 10")
	})
	t.Run("tasks", func(t *testing.T) {
		p := newPlay(t)
		for i, path := range []string{"/a", "/b"} {
			conn, port := uint64(i+1), uint16(5000+i)
			p.tracer.Open(Connection{ID: conn, PID: server, Remote: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}, 0)
			p.read(10, conn, rust, path)
		}
		for i, name := range []string{"*a", "*b"} {
			at := 12 + uint64(i)
			p.task(at, main, "loop", name[1:])
			p.tracer.Scope(server, main, at*ms, &Scope{Coroutine: p.coroutine(name[1:]), Port: uint16(5000 + i), Path: "/" + name[1:]})
		}
		p.step(14, main, "*a", false)
		p.sample(15, main, "loop *a")
		p.task(16, main, "loop *a", "kid")
		p.tracer.Scope(server, main, 16*ms, &Scope{Coroutine: p.coroutine("kid"), Port: 5001, Path: "/b"}) // it passes one on
		p.step(18, main, "*b", true)
		p.sample(19, main, "loop *b")
		p.step(20, main, "*kid", true)
		answer(p, 22, 1)
		answer(p, 23, 2)
		p.wants("/b", "loop 13\n  [blocked] 3\n  b 2\n  [runqueue] 8")
	})
}

func TestScopeIsOf(t *testing.T) {
	for _, v := range []struct {
		target string
		scope  Scope
		want   bool
	}{
		{"/a", Scope{Path: "/a"}, true},
		{"/a", Scope{Path: "/b"}, false},
		{"/a?x=1", Scope{Path: "/a"}, true},
		{"/a?x=1", Scope{Path: "/a", HasQuery: true}, false},
		{"/a?x=1", Scope{Path: "/a", Query: "x=1", HasQuery: true}, true},
		{"/%C3%A9", Scope{Path: "/é"}, true},
		{"/%C3%A9", Scope{Path: "/Ã©"}, true},
		{"/%zz", Scope{Path: "/%zz"}, true},
		{"http://h/a?b", Scope{Path: "/a", Query: "b", HasQuery: true}, true},
		{"http://h", Scope{Path: "/"}, true},
		{"/a?u=http://h/b", Scope{Path: "/a"}, true},
		{"/a", Scope{Path: "/a", Port: 7}, true},
		{"/a", Scope{Path: "/a", Port: 8}, false},
	} {
		r := &Request{Request: &http1.Request{Target: v.target}, conn: &conn{connState: connState{remote: netip.MustParseAddrPort("127.0.0.1:7")}}}
		if got := v.scope.isOf(r); got != v.want {
			t.Errorf("%+v of %s: %v", v.scope, v.target, got)
		}
	}
}
