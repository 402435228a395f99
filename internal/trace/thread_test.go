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

// TestThreadEnded has a thread end that a request has started, and its number become another's.
func TestThreadEnded(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.tracer.Thread(server, server, 11*ms, p.stack("main start"), pool)
	p.leave(12, pool, "run work", Sleep)
	p.resume(14, pool)
	p.tracer.ThreadEnded(server, pool, 16*ms)
	p.write(20, 1, server, "main")
	p.wants("/", `
main 10
  start 0
    [thread] 4
      run 4
        work 2
          [sleep] 2`)
}

// TestThreadKilled has a thread end with its process in the midst of a request.
func TestThreadKilled(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.leave(12, server, "run view", Sleep)
	p.tracer.ThreadEnded(server, server, 16*ms)
	p.tracer.Exit(server, 16*ms)
	p.wants("/", `
run 6
  view 4
    [sleep] 4`)
}

// TestThreadsEnd has a thread for each of many requests, while one or none goes on all the while.
func TestThreadsEnd(t *testing.T) {
	for _, open := range []bool{false, true} {
		p := newPlay(t)
		p.open(1)
		p.open(2)
		at, threads := uint64(10), uint32(10_000)
		if open {
			p.read(at, 1, server, "/long")
		}
		for i := range threads {
			p.read(at+1, 2, server+1+i, "/")
			p.write(at+2, 2, server+1+i, "run")
			if i%2 == 0 {
				p.tracer.ThreadEnded(server, server+1+i, (at+3)*ms)
			}
			at += 3
		}
		want := threads/2 + 1 // those that end without a word may be anywhere while a request is open
		if !open {
			want = 2 * threadsMin
		}
		if n := len(p.tracer.processes[server].threads); n > int(want) {
			t.Errorf("%d threads are known, of which none is left (a request is open: %v)", n, open)
		}
	}
}

// TestStreamBeforeNext has a thread of a pool end an answer in parts and go on, without a wait, with a request that waited.
func TestStreamBeforeNext(t *testing.T) {
	const worker = server + 1
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(10, 1, server, "/stream")
	p.sample(11, worker, "boot parts")
	p.tracer.Write(server, worker, 12*ms, p.stack("boot parts write"))
	p.sent(12, 1, worker, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
	p.read(13, 2, server, "/next")
	p.sample(20, worker, "boot parts")
	p.sent(21, 1, worker, "0\r\n\r\n")
	p.sample(30, worker, "boot next")
	p.write(32, 2, worker, "boot next")
	p.wants("/next", `
boot 19
  [runqueue] 8
  next 11`)
}

// TestThreadOfUnseen has a thread start another whose own stack could not be found.
func TestThreadOfUnseen(t *testing.T) {
	for started, undecided := range map[string]bool{"_bootstrap@threading.py work": true, "work": false} {
		p := newPlay(t)
		p.open(1)
		p.read(10, 1, server, "/")
		p.tracer.Thread(server, server, 12*ms, &Stack{Foreign: true}, server+1)
		p.sample(14, server+1, started)
		p.sample(16, server+1, started)
		p.write(20, 1, server, "serve")
		if x := p.told["/"]; x.Undecided != undecided {
			t.Errorf("%s: undecided %v, told as\n%s", started, x.Undecided, draw(x.Frames))
		}
	}
}
