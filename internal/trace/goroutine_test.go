package trace

import (
	"fmt"
	"slices"
	"testing"

	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/http1"
)

const handler = uint64(7) // goroutine that serves a connection

// goRead has a goroutine read a request's head.
func (p *play) goRead(at, conn, goid uint64, path string) {
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
	p.tracer.Received(&Transfer{
		Connection: conn, Begun: at * ms, Begins: true, Sampled: true, PID: server, TID: server, Time: at * ms,
		Goroutine: Goroutine{ID: goid, Address: goid << 8},
		Chunk:     http1.Chunk{Head: []byte(head), Len: len(head)},
	})
}

// goPart has a goroutine write a part of an answer, having left off running so often since the head was read.
func (p *play) goPart(at, conn, goid uint64, left uint8, text string) {
	p.tracer.Sent(&Transfer{
		Connection: conn, PID: server, TID: server, Time: at * ms,
		Goroutine: Goroutine{ID: goid, Address: goid << 8, Left: left, Enters: 1},
		Chunk:     http1.Chunk{Head: []byte(text), Len: len(text)},
	})
}

// goWrite has a goroutine write a whole answer.
func (p *play) goWrite(at, conn, goid uint64) {
	text := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	p.tracer.Sent(&Transfer{
		Connection: conn, PID: server, TID: server, Time: at * ms, Goroutine: Goroutine{ID: goid, Address: goid << 8},
		Chunk: http1.Chunk{Head: []byte(text), Len: len(text)},
	})
}

func (p *play) goSample(at, goid uint64, stack string) {
	p.tracer.GoSample(server, Goroutine{ID: goid}, at*ms, p.stack(stack))
}

// parked has a goroutine seen that waits; it was as told before at after, and has left off running since so often.
func (p *play) parked(after, at, goid uint64, stack, why string, left uint8) {
	p.sight(goroutine.Sight{After: after, Time: at, GoID: goid, State: goroutine.Waiting, Why: why, Left: left, Seq: left}, stack)
}

func (p *play) seen(after, at, goid uint64, state goroutine.State, left uint8) {
	p.sight(goroutine.Sight{After: after, Time: at, GoID: goid, State: state, Left: left}, "")
}

// starts has a goroutine seen that waits since another started it in a function.
func (p *play) starts(after, at, parent, goid uint64, function, stack, why string) {
	s := goroutine.Sight{After: after, Time: at, GoID: goid, Root: handler, Parent: parent, Left: goroutine.NotKnown}
	s.State, s.Why = goroutine.Waiting, why
	if stack == "" {
		s.State = goroutine.Runnable
	}
	p.sight(s, stack, Frame{Func: p.fn(function)})
}

// sight gives the tracer a sight with times in milliseconds.
func (p *play) sight(s goroutine.Sight, text string, started ...Frame) {
	s.After *= ms
	s.Time *= ms
	var stack *Stack
	if text != "" {
		stack = p.stack(text)
	}
	p.tracer.GoSight(server, &s, stack, started)
}

func (p *play) looked(at uint64) { p.tracer.GoLooked(server, at*ms, at*ms, false) }

func TestGoroutineLane(t *testing.T) {
	tests := []struct {
		name string
		play func(p *play)
		want string
	}{
		{"samples share a stretch half-way", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(12, handler, "serve a")
			p.goSample(16, handler, "serve b")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 6
  a 4`},
		{"what is torn is as before", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(12, handler, "serve a")
			p.tracer.GoSample(server, Goroutine{ID: handler}, 13*ms, nil)
			p.tracer.GoPreempted(server, 5, Goroutine{ID: handler}, 14*ms, nil)
			p.tracer.SwitchIn(server, 5, 16*ms)
			p.tracer.GoSwitchOut(server, 5, Goroutine{ID: handler}, 18*ms, nil, Disk)
			p.tracer.SwitchIn(server, 5, 20*ms)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 10
    [disk] 2
    [runqueue] 2`},
		{"parked since the head was read", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 14, handler, "serve a", "sleep", 1)
			p.looked(19)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 10
    [sleep] 10`},
		{"parked more than once before it was looked at", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 14, handler, "serve a", "sleep", 2)
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 8
    [sleep] 8
  [not sampled] 2`},
		{"half a millisecond between a sample and a park", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(12, handler, "serve a")
			p.parked(0, 16, handler, "serve b", "chan receive", 1)
			p.looked(17)
			p.goSample(19, handler, "serve a")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 6
    [chan receive] 6
  a 4`},
		{"one park after another", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a", "sync.Mutex.Lock", 1)
			p.parked(14, 16, handler, "serve b", "select", 1)
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 5
    [select] 5
  a 5
    [sync.Mutex.Lock] 5`},
		{"between two parks", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a", "IO wait", 1)
			p.seen(13, 15, handler, goroutine.Running, 0)
			p.goSample(16, handler, "serve c")
			p.parked(15, 19, handler, "serve b", "sleep", 1)
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 3.5
    [sleep] 3.5
  c 2.5
  a 4
    [IO wait] 4`},
		{"ready, without a thread", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a", "semacquire", 1)
			p.seen(14, 16, handler, goroutine.Runnable, 0)
			p.looked(18)
			p.goSample(18, handler, "serve a")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 10
    [runqueue] 3
    [semacquire] 5`},
		{"in a system call", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.tracer.GoSwitchOut(server, 5, Goroutine{ID: handler}, 12*ms, p.stack("serve a"), Disk)
			p.seen(11, 14, handler, goroutine.Syscall, 0)
			p.wake(16, 5)
			p.resume(17, 5)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 5
    [runqueue] 1
    [disk] 4`},
		{"runs in C, as its thread leaves no CPU", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a", "sleep", 1)
			p.sight(goroutine.Sight{After: 11, Time: 13, GoID: handler, State: goroutine.Syscall, Left: 1, Seq: 2}, "serve c")
			p.looked(14)
			p.goSample(17, handler, "serve c d")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  c 8
    d 5
  a 2
    [sleep] 2`},
		{"starts one that is at work in C when it is found, and one that waits there", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(11, handler, "serve a")
			for goid := uint64(20); goid < 22; goid++ {
				s := goroutine.Sight{After: 10, Time: 12, GoID: goid, Root: handler, Parent: handler, Left: goroutine.NotKnown}
				s.State = goroutine.Syscall
				p.sight(s, "child c", Frame{Func: p.fn("a")})
			}
			p.goSample(13, 20, "child c d")
			p.goSample(17, 20, "child c")
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 10
    [goroutine] 18
      child 18
        c 18
          [blocked] 9
          d 2.5`},
		{"not looked at for long", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.tracer.GoSwitchOut(server, 5, Goroutine{ID: handler}, 10*ms, p.stack("serve x"), RunQueue)
			p.resume(11, 5)
			p.parked(0, 19, handler, "serve a", "sleep", 2)
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 5
    [sleep] 5
  [not sampled] 4
  x 1
    [runqueue] 1`},
		{"writes, and nothing in between shows that it ran on", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(11, handler, "serve a")
			p.goPart(12, 1, handler, 1, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n1")
			p.goPart(14, 1, handler, 2, "2")
			p.goPart(20, 1, handler, 4, "3")
		}, `
serve 10
  [not sampled] 6
  a 2`},
		{"reads a body between two samples, and was parked unseen", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(11, handler, "serve a b")
			p.goPart(12, 1, handler, 1, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n1")
			p.goPart(16, 1, handler, 4, "2")
			p.goSample(17, handler, "serve a c")
			p.goPart(20, 1, handler, 5, "3")
		}, `
serve 10
  a 10
    c 4
    [not sampled] 4
    b 2`},
		{"what the request before did on the connection is none of this one's", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(11, handler, "serve a b")
			p.goWrite(12, 1, handler)
			p.goRead(14, 1, handler, "/")
			p.goPart(16, 1, handler, 2, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
			p.goSample(18, handler, "serve a c")
			p.goPart(20, 1, handler, 3, "2")
		}, `
serve 6
  a 4
    c 4
  [not sampled] 2`},
		{"preempted amid its work", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a", "sleep", 1)
			p.seen(11, 13, handler, goroutine.Running, 1)
			p.tracer.GoPreempted(server, 5, Goroutine{ID: handler}, 14*ms, p.stack("serve b"))
			p.resume(15, 5)
			p.goSample(19, handler, "serve c")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  c 3
  b 5
    [runqueue] 1
  a 2
    [sleep] 2`},
		{"preempted, then looked at twice", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.seen(0, 11, handler, goroutine.Running, 0)
			p.tracer.GoSwitchOut(server, 5, Goroutine{ID: handler}, 12*ms, p.stack("serve a"), RunQueue)
			p.resume(13, 5)
			p.parked(15, 17, handler, "serve b", "sleep", 1)
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 4
    [sleep] 4
  a 1
    [runqueue] 1`},
		{"parked unseen before the first sample", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.tracer.GoSample(server, Goroutine{ID: handler, Left: 1}, 15*ms, p.stack("serve b"))
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 5.5
  [not sampled] 4.5`},
		{"parked unseen before its thread waited", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.tracer.GoSwitchOut(server, 5, Goroutine{ID: handler, Left: 1}, 15*ms, p.stack("serve b"), Disk)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 5
    [disk] 5
  [not sampled] 4.5`},
		{"parked unseen, but for so short that it does not matter", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.tracer.GoSample(server, Goroutine{ID: handler, Left: 1}, 12*ms, p.stack("serve b"))
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 10`},
		{"parked unseen before it was seen to run", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.sight(goroutine.Sight{Time: 15, GoID: handler, State: goroutine.Running, Left: 1, Seq: 1}, "")
			p.goSample(16, handler, "serve b")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 5.5
  [not sampled] 4.5`},
		{"made system calls before the first sample where these count as parks do", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.tracer.processes[server].enters = 1
			p.tracer.GoSample(server, Goroutine{ID: handler, Left: 2}, 15*ms, p.stack("serve b"))
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 10`},
		{"too long without a sample", func(p *play) {
			p.tracer.processes[server].lapse = 3 * ms
			p.goRead(10, 1, handler, "/")
			p.goSample(11, handler, "serve a")
			p.goSample(16, handler, "serve a")
			p.goSample(18, handler, "serve b")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  b 3
  a 7
    [not sampled] 4`},
		{"at work before samples are taken, as it has woken the agent", func(p *play) {
			p.tracer.processes[server].lapse = 2 * ms
			p.goRead(10, 1, handler, "/")
			p.tracer.SamplesSince(12 * ms)
			p.goSample(13, handler, "serve a")
			p.goWrite(14, 1, handler)
		}, `
serve 4
  a 4`},
		{"for long before samples are taken", func(p *play) {
			p.tracer.processes[server].lapse = 2 * ms
			p.goRead(10, 1, handler, "/")
			p.tracer.SamplesSince(18 * ms)
			p.goSample(19, handler, "serve a")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 1.5
  [not sampled] 8`},
		{"preempted, then parked before it was looked at", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.tracer.GoSwitchOut(server, 5, Goroutine{ID: handler}, 10*ms, p.stack("serve"), RunQueue)
			p.resume(12, 5)
			p.parked(0, 18, handler, "serve a", "sleep", 1)
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 8
    [sleep] 8
  [runqueue] 2`},
		{"the outermost functions of a deep stack are not known", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goSample(12, handler, "serve a")
			p.tracer.GoSample(server, Goroutine{ID: handler}, 16*ms, &Stack{Frames: []Frame{{Func: Truncated}, {Func: p.fn("b")}, {Func: p.fn("c")}}})
			p.goSample(18, handler, "serve a")
			p.goWrite(20, 1, handler)
		}, `
serve 10
  [truncated] 3
    b 3
      c 3
  a 7`},
		{"parked at one place again and again, and not sampled in between", func(p *play) {
			sleep := p.fn("sleep")
			sleep.ShortFile = "runtime/time.go"
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a b sleep", "sleep", 1)
			p.seen(11, 13, handler, goroutine.Running, 0)
			p.parked(13, 15, handler, "serve a b sleep", "sleep", 1)
			p.goSample(16, handler, "serve a c")
			p.parked(15, 16, handler, "serve a b sleep", "sleep", 1)
			p.seen(16, 18, handler, goroutine.Running, 0)
			p.parked(18, 19, handler, "serve a b sleep", "sleep", 1)
			p.looked(20)
			p.goWrite(20, 1, handler)
		}, `
serve 10
  a 10
    c 0.5
    b 8
      sleep 6
        [sleep] 6`},
		{"nothing seen", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.goWrite(20, 1, handler)
		}, `
[request] 10`},
		{"no answer", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 12, handler, "serve a", "sleep", 1)
			p.tracer.Close(1, http1.PeerGone, 20*ms)
		}, `
serve 10
  a 10
    [sleep] 10`},
		{"reads on while it answers", func(p *play) {
			read := func(at uint64, text string) {
				p.tracer.Received(&Transfer{
					Connection: 1, Begun: at * ms, Begins: true, Sampled: true, PID: server, TID: server, Time: at * ms,
					Goroutine: Goroutine{ID: handler, Address: handler << 8}, Chunk: http1.Chunk{Head: []byte(text), Len: len(text)},
				})
			}
			read(10, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n12")
			p.parked(0, 11, handler, "serve a", "IO wait", 1)
			p.goPart(14, 1, handler, 1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
			p.parked(14, 15, handler, "serve b", "IO wait", 2)
			read(18, "34")
			p.goPart(20, 1, handler, 2, "2")
		}, `
serve 10
  [not sampled] 2
  b 4
    [IO wait] 4
  a 4
    [IO wait] 4`},
		{"a timer flushes what the handler has written so far", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a", "select", 1)
			p.goSample(17, 40, "flush")
			p.goPart(18, 1, 40, 1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
			p.looked(20)
			p.goPart(20, 1, handler, 1, "ok")
		}, `
serve 10
  a 10
    [select] 10`},
		{"a timer writes all of the answer", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 11, handler, "serve a", "select", 1)
			p.looked(20)
			p.goWrite(20, 1, 40)
		}, `
serve 10
  a 10
    [select] 10`},
		{"answered by a goroutine that the handler started", func(p *play) {
			p.goRead(10, 1, handler, "/")
			p.parked(0, 12, handler, "serve a", "sleep", 1)
			p.starts(10, 12, handler, 8, "a", "copy", "IO wait")
			p.looked(20)
			p.goWrite(20, 1, 8)
		}, `
serve 10
  a 10
    [goroutine] 10
      copy 10
        [IO wait] 10
    [sleep] 10`},
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

// TestStartedGoroutines hangs what a handler started, to any depth, under the function of the go statement.
func TestStartedGoroutines(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.goRead(10, 1, handler, "/")
	p.parked(0, 12, handler, "serve view fan wait", "sync.WaitGroup.Wait", 1)
	p.starts(0, 12, handler, 20, "fan", "child", "chan receive")
	p.starts(0, 12, handler, 21, "errgroup.Go", "", "")
	p.looked(12)
	p.starts(12, 14, 20, 22, "child", "grandchild", "sleep")
	p.looked(14)
	p.seen(15, 17, 20, goroutine.Dead, 0)
	p.looked(20)
	p.goWrite(20, 1, handler)
	p.wants("/", `
serve 10
  [goroutine] 10
    [runqueue] 10
  view 10
    fan 10
      [goroutine] 6
        child 6
          [goroutine] 8
            grandchild 8
              [sleep] 8
          [chan receive] 6
      wait 10
        [sync.WaitGroup.Wait] 10`)
	if n := p.told["/"].Waits[goReason("sync.WaitGroup.Wait")]; n != int64(10*ms) {
		t.Errorf("waited %d ns", n)
	}
}

// TestStartedWithinASearch has one search find a goroutine, and only the next the one that started it.
func TestStartedWithinASearch(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.goRead(10, 1, handler, "/")
	p.parked(0, 12, handler, "serve view", "chan receive", 1)
	p.looked(12)
	p.starts(13, 14, handler, 20, "view", "child", "chan receive")
	p.starts(10, 14, 20, 21, "child", "grandchild", "sleep")
	p.looked(14)
	p.goWrite(20, 1, handler)
	p.wants("/", `
serve 10
  view 10
    [goroutine] 7
      child 7
        [goroutine] 7
          grandchild 7
            [sleep] 7
        [chan receive] 7
    [chan receive] 10`)
}

// TestStartedWithinALook has the same look tell of goroutines before those that started them, and of the end of one before
// what it started.
func TestStartedWithinALook(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.goRead(10, 1, handler, "/")
	p.starts(0, 12, 20, 21, "child", "grandchild", "sleep")
	p.starts(0, 12, handler, 20, "view", "child", "chan receive")
	p.parked(0, 12, handler, "serve view", "chan receive", 1)
	p.looked(12)
	p.seen(14, 16, 20, goroutine.Dead, 0)
	p.starts(14, 16, 20, 22, "child", "late", "sleep")
	p.looked(16)
	p.goWrite(20, 1, handler)
	p.wants("/", `
serve 10
  view 10
    [goroutine] 5
      child 5
        [goroutine] 15
          late 5
            [sleep] 5
          grandchild 10
            [sleep] 10
        [chan receive] 5
    [chan receive] 10`)
}

// TestStartedByTheServer has a handler's goroutines looked at as those that the one has started which accepts connections.
func TestStartedByTheServer(t *testing.T) {
	const acceptor = 3
	p := newPlay(t)
	p.open(1)
	p.goRead(10, 1, handler, "/")
	for _, s := range []struct{ goid, parent uint64 }{{handler, acceptor}, {20, handler}, {21, 20}} {
		p.sight(goroutine.Sight{
			After: 10, Time: 12, GoID: s.goid, Root: acceptor, Parent: s.parent, State: goroutine.Waiting, Why: "sleep", Left: goroutine.NotKnown,
		}, "view", Frame{Func: p.fn("view")})
	}
	p.parked(10, 12, acceptor, "accept", "IO wait", 1)
	p.looked(12)
	p.goWrite(20, 1, handler)
	p.wants("/", `
view 10
  [goroutine] 9
    view 9
      [goroutine] 9
        view 9
          [sleep] 9
      [sleep] 9
  [sleep] 10`)
}

// TestStartedInARow has one look find goroutines that have started each other, the last of which was sampled before.
func TestStartedInARow(t *testing.T) {
	p := newPlay(t)
	p.tracer.SamplePeriod = ms
	p.open(1)
	p.goRead(10, 1, handler, "/")
	p.goSample(11, 22, "grandchild")
	p.starts(9, 16, handler, 20, "view", "child", "chan receive")
	p.starts(9, 16, 20, 21, "child", "child", "chan receive")
	p.starts(9, 16, 21, 22, "child", "grandchild", "sleep")
	p.parked(0, 16, handler, "serve", "sleep", 2) // it has started the first while it ran
	p.looked(16)
	p.goWrite(20, 1, handler)
	depth := 0
	for _, f := range p.told["/"].Frames {
		if f.Function == goroutineBranch.Name {
			depth++
		}
	}
	if depth != 3 {
		t.Errorf("%d branches are told of 3:\n%s", depth, draw(p.told["/"].Frames))
	}
}

// TestStartedBetweenWaits has a handler go on between two looks, start a goroutine and wait as before.
func TestStartedBetweenWaits(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.goRead(10, 1, handler, "/")
	p.parked(0, 12, handler, "serve view", "chan send", 1)
	p.looked(12)
	p.starts(12, 16, handler, 20, "view", "child", "sleep")
	p.parked(12, 16, handler, "serve view", "chan send", 1)
	p.looked(16)
	p.goWrite(20, 1, handler)
	p.wants("/", `
serve 10
  view 10
    [goroutine] 6
      child 6
        [sleep] 6
    [chan send] 10`)
}

// TestGoroutineOutlivesItsRequest keeps what one request started out of the next on the same connection.
func TestGoroutineOutlivesItsRequest(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.goRead(10, 1, handler, "/a")
	p.parked(0, 11, handler, "serve a", "sleep", 1)
	p.starts(0, 11, handler, 20, "a", "child", "chan receive")
	p.looked(14)
	p.goWrite(15, 1, handler)
	p.goRead(16, 1, handler, "/b")
	p.parked(16, 18, 20, "child", "sleep", 1)
	p.goSample(19, 20, "child")
	p.goWrite(20, 1, handler)
	p.wants("/b", `[request] 4`)
	if n := len(p.told["/a"].Frames); n != 6 {
		t.Errorf("told as\n%s", draw(p.told["/a"].Frames))
	}
}

// TestStartedAndGone has a handler start goroutines that have returned when it is first looked at.
func TestStartedAndGone(t *testing.T) {
	p := newPlay(t)
	p.tracer.SamplePeriod = 4 * ms
	p.open(1)
	p.open(2)
	p.goRead(1, 2, 99, "/other")
	p.goSample(9, 22, "earlier")
	p.goRead(10, 1, handler, "/")
	p.goSample(14, 20, "child")
	p.goSample(15, 21, "stranger")
	p.parked(0, 18, handler, "serve view", "sync.WaitGroup.Wait", 1)
	for child := uint64(20); child <= 23; child++ {
		if child == 21 {
			continue
		}
		p.sight(goroutine.Sight{
			After: 0, Time: 18, GoID: child, Root: handler, Parent: handler, State: goroutine.Dead, Left: goroutine.NotKnown,
		}, "", Frame{Func: p.fn("view")})
	}
	p.looked(18)
	p.goWrite(20, 1, handler)
	p.wants("/", `
serve 10
  view 10
    [goroutine] 6
      child 4
      [not sampled] 2
    [sync.WaitGroup.Wait] 10`)
	if !p.told["/"].Imprecise {
		t.Error("it does not say that it is imprecise")
	}
}

// TestGoPipelined has a goroutine read two requests at once, and start another for the second that may have begun before.
func TestGoPipelined(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	var waits []bool
	p.tracer.finished = func(finished func(*Request)) func(*Request) {
		return func(r *Request) { waits = append(waits, r.Pipelined()); finished(r) }
	}(p.tracer.finished)
	p.goRead(10, 1, handler, "/a")
	p.goRead(10, 1, handler, "/b")
	p.parked(0, 11, handler, "serve a", "sleep", 1)
	p.looked(13)
	p.goWrite(14, 1, handler)
	p.starts(13, 16, handler, 20, "b", "child", "sleep")
	p.parked(13, 16, handler, "serve b", "chan receive", 2)
	p.looked(16)
	p.goWrite(20, 1, handler)
	p.wants("/b", `
serve 10
  [runqueue] 4
  b 5
    [goroutine] 5
      child 5
        [sleep] 5
    [chan receive] 5
  [not sampled] 1`)
	if want := []bool{true, false}; !slices.Equal(waits, want) {
		t.Errorf("others wait: %v", waits)
	}
}

// TestReadAhead has another goroutine read the first byte of a request while the one that serves the connection is still at
// work for the request before, as net/http does.
func TestReadAhead(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.goRead(10, 1, handler, "/a")
	p.goSample(12, handler, "serve a")
	p.goWrite(14, 1, handler)
	head := "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, part := range []struct {
		at, goid uint64
		text     string
	}{{15, 90, head[:1]}, {18, handler, head[1:]}} {
		if part.goid == handler {
			p.goSample(17, handler, "serve a")
		}
		p.tracer.Received(&Transfer{
			Connection: 1, Begun: 15 * ms, Begins: part.at == 15, Sampled: true, PID: server, TID: server, Time: part.at * ms,
			Goroutine: Goroutine{ID: part.goid}, Chunk: http1.Chunk{Head: []byte(part.text), Len: len(part.text)},
		})
	}
	p.goSample(19, handler, "serve b")
	p.goWrite(20, 1, handler)
	p.wants("/b", `
serve 5
  [runqueue] 3
  b 2`)
}

// TestLateLooks tells of which requests the times are imprecise.
func TestLateLooks(t *testing.T) {
	tests := []struct {
		name  string
		looks []uint64
		want  bool
	}{
		{"in time", []uint64{11, 13, 16, 19}, false},
		{"the first after none was needed", []uint64{2, 11, 15, 19}, false},
		{"too late to tell when it began to wait", []uint64{11, 17, 19}, true},
		{"too late while it waited", []uint64{11, 12, 18, 19}, false},
		{"too long before the end", []uint64{11, 13, 14}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.goRead(10, 1, handler, "/")
			for i, at := range test.looks {
				if i == 1 {
					p.parked(0, at, handler, "serve", "sleep", 1)
				}
				p.looked(at)
			}
			p.goWrite(20, 1, handler)
			if got := p.told["/"].Imprecise; got != test.want {
				t.Errorf("imprecise: %v", got)
			}
		})
	}
}

// TestLateEnd has a wait end that was looked at too late, or not at all since.
func TestLateEnd(t *testing.T) {
	for name, ends := range map[string]func(p *play){
		"a sample tells":                    func(p *play) { p.goSample(19, handler, "serve a") },
		"a look tells, which ends too late": func(p *play) { p.seen(13, 19, handler, goroutine.Running, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.goRead(10, 1, handler, "/")
			p.parked(0, 12, handler, "serve", "sleep", 1)
			p.looked(13)
			ends(p)
			p.goWrite(20, 1, handler)
			p.looked(21)
			if !p.told["/"].Imprecise {
				t.Error("it does not say that it is imprecise")
			}
		})
	}
}

// TestLateSearches has nobody look for some time what a handler starts that waits for it.
func TestLateSearches(t *testing.T) {
	const early, late = 12, 19
	for _, test := range []struct {
		name  string
		why   string
		kid   bool
		again uint64 // when it is searched for the second time
		want  bool
	}{
		{"in time", "chan receive", false, early + 1, false},
		{"too late", "chan receive", false, late, true},
		{"too late for the last", "sync.WaitGroup.Wait", false, 30, true},
		{"of which one is known", "chan receive", true, late, false},
		{"for which it does not wait", "sleep", false, late, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.goRead(10, 1, handler, "/")
			for at := uint64(11); at < 20; at++ {
				if at == early {
					p.parked(0, at, handler, "serve view", test.why, 1)
				}
				if at == early && test.kid {
					p.starts(11, at, handler, 20, "view", "child", "sleep")
				}
				searched := at
				if at > early && at < test.again {
					searched = early
				}
				p.tracer.GoLooked(server, at*ms, searched*ms, false)
			}
			p.goWrite(20, 1, handler)
			if got := p.told["/"].Imprecise; got != test.want {
				t.Errorf("imprecise: %v", got)
			}
		})
	}
}

// TestManyGoroutines has one request open for long beside many, which must not pile up.
func TestManyGoroutines(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.goRead(1, 1, handler, "/stays-open")
	const requests = 100_000
	for i := range uint64(requests) {
		at := 2 + 4*i
		p.goRead(at, 2, 1000+i, "/")
		p.parked(0, at+1, 1000+i, "serve a", "sleep", 1)
		p.starts(at, at+1, handler, 1<<32+i, "a", "child", "sleep")
		p.goSample(at+2, 1<<33+i, "gc")
		p.goWrite(at+3, 2, 1000+i)
		if i%2 == 0 {
			p.seen(at+1, at+3, 1<<32+i, goroutine.Dead, 0)
		}
	}
	proc := p.tracer.processes[server]
	if n := len(proc.byID); n > 3*goroutinesMax {
		t.Errorf("%d goroutines are kept of %d", n, 3*requests)
	}
}

func TestGoReasons(t *testing.T) {
	for i, want := range map[string]Reason{"IO wait": SocketRecv, "select": Chan, "sync.Mutex.Lock": Lock, "GC assist wait": Blocked, "?": Blocked} {
		if got := goReason(i).General(); got != want {
			t.Errorf("%s is a kind of %d", i, got)
		}
	}
}
