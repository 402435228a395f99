package trace

import "testing"

func TestThreadLane(t *testing.T) {
	tests := []struct {
		name string
		play func(p *play)
		want string
	}{
		{"samples share a stretch half-way", func(p *play) {
			p.read(10, 1, server, "/")
			p.sample(12, server, "main a")
			p.sample(16, server, "main b")
			p.write(20, 1, server, "main b")
		}, `
main 10
  b 6
  a 4`},
		{"a wait has its own stack, and ends when the thread may run", func(p *play) {
			p.read(10, 1, server, "/")
			p.leave(12, server, "main a", Sleep)
			p.wake(15, server)
			p.resume(16, server)
			p.write(20, 1, server, "main b")
		}, `
main 10
  a 4
    [runqueue] 1
    [sleep] 3`},
		{"a preempted thread waits for a CPU", func(p *play) {
			p.read(10, 1, server, "/")
			p.leave(12, server, "main a", RunQueue)
			p.wake(13, server)
			p.resume(15, server)
			p.write(20, 1, server, "main a")
		}, `
main 10
  a 8
    [runqueue] 3`},
		{"a stretch without a sample goes to what its ends share", func(p *play) {
			p.read(10, 1, server, "/")
			p.leave(11, server, "main a x", Sleep)
			p.resume(12, server)
			p.leave(18, server, "main a y", Sleep)
			p.resume(19, server)
			p.write(20, 1, server, "main")
		}, `
main 10
  a 8
    y 1
      [sleep] 1
    x 1
      [sleep] 1`},
		{"nothing seen", func(p *play) {
			p.read(10, 1, server, "/")
			p.sent(20, 1, server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}, `
[request] 10`},
		{"a stack that could not be read", func(p *play) {
			p.read(10, 1, server, "/")
			p.tracer.Sample(server, server, 15*ms, &Stack{Broken: true})
			p.write(20, 1, server, "main")
		}, `
[request] 10
  [unknown] 10`},
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
