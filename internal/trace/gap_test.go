package trace

import "testing"

// TestGaps has a lane wait again and again at one place, and work in between, of which few stretches have a sample: the
// others did the same.
func TestGaps(t *testing.T) {
	tests := []struct {
		name string
		play func(p *play)
		want string
	}{
		{"a thread", func(p *play) {
			p.read(10, 1, server, "/")
			for at := uint64(11); at < 91; at += 10 {
				p.leave(at, server, "main query recv", SocketRecv)
				p.resume(at+5, server)
				switch at {
				case 31, 61, 71:
					p.sample(at+6, server, "main rows hydrate")
				case 41:
					p.sample(at+6, server, "main query send")
				}
			}
			p.leave(91, server, "main render", Sleep)
			p.resume(92, server)
			p.write(93, 1, server, "main")
		}, `
main 83
  render 1
    [sleep] 1
  rows 26.25
    hydrate 26.25
  query 48.75
    send 8.75
    recv 40
      [socket recv] 40`},
		{"what lies between other places is told by itself", func(p *play) {
			p.read(10, 1, server, "/")
			p.leave(11, server, "main query", SocketRecv)
			p.resume(12, server)
			p.sample(13, server, "main rows")
			p.leave(14, server, "main other", Sleep)
			p.resume(15, server)
			p.leave(18, server, "main query", SocketRecv)
			p.resume(19, server)
			p.write(20, 1, server, "main")
		}, `
main 10
  other 1
    [sleep] 1
  rows 2
  query 2
    [socket recv] 2`},
		{"a stretch with several samples shows nothing of short ones", func(p *play) {
			p.read(10, 1, server, "/")
			p.leave(11, server, "main query", SocketRecv)
			p.resume(12, server)
			p.sample(14, server, "main rare")
			p.sample(16, server, "main rare")
			p.leave(18, server, "main query", SocketRecv)
			p.resume(19, server)
			p.leave(20, server, "main query", SocketRecv)
			p.resume(21, server)
			p.write(22, 1, server, "main")
		}, `
main 12
  rare 6
  query 4
    [socket recv] 3`},
		{"a task", func(p *play) {
			p.task(10, server, "loop", "view")
			p.read(10, 1, server, "/")
			p.step(10, server, "*view", false)
			for at := uint64(11); at < 51; at += 10 {
				p.step(at, server, "*other", false)
				p.step(at+5, server, "*view query", false)
				if at == 31 {
					p.sample(at+6, server, "loop *view hydrate")
				}
			}
			p.step(51, server, "*other", false)
			p.step(54, server, "*view query", false)
			p.write(55, 1, server, "loop *view")
		}, `
loop 45
  view 45
    hydrate 20
    query 24
      [await] 23`},
		{"a greenlet", func(p *play) {
			p.greenlet(1, server, hub, "hub", one)
			p.read(10, 1, server, "/")
			for at := uint64(11); at < 51; at += 10 {
				p.greenlet(at, server, one, "view query", hub)
				p.greenlet(at+5, server, hub, "hub", one)
				if at == 31 {
					p.root = one
					p.sample(at+6, server, "view hydrate")
				}
			}
			p.root = one
			p.greenlet(51, server, one, "view query", hub)
			p.greenlet(54, server, hub, "hub", one)
			p.root = one
			p.write(55, 1, server, "view")
		}, `
view 45
  hydrate 20
  query 23
    [await] 23`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			test.play(p)
			p.wants("/", test.want)
		})
	}
}
