package trace

import (
	"strings"
	"testing"
)

// TestTakenAmidWork has a thread take what may be a job or a connection, and the request that started it end before that is known.
func TestTakenAmidWork(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.tracer.Thread(server, server, 12*ms, p.stack("main start"), server+1)
	p.take(14, server+1, "boot run", 7)
	p.leave(16, server+1, "boot run", Sleep)
	p.write(20, 1, server, "main")
	if x := p.told["/"]; !x.Undecided {
		t.Errorf("has an owner:\n%s", draw(x.Frames))
	}
}

// TestQueues has threads put objects into queues and others take them.
func TestQueues(t *testing.T) {
	const a, b, worker, other = server, server + 1, server + 2, server + 3
	const loop = "boot run"
	begin := func(p *play) {
		p.open(1)
		p.open(2)
		p.read(10, 1, a, "/a")
		p.read(10, 2, b, "/b")
	}
	end := func(p *play) {
		p.write(40, 1, a, "main")
		p.write(40, 2, b, "main")
	}
	tests := []struct {
		name   string
		play   func(p *play)
		a, b   string // functions that are told of the requests
		unsure bool
	}{
		{"one thread takes one after the other, without a wait", func(p *play) {
			p.put(12, a, "main", 7)
			p.put(12, b, "main", 8)
			p.take(14, worker, loop, 7)
			p.sample(16, worker, loop+" forA")
			p.take(20, worker, loop, 8)
			p.sample(22, worker, loop+" forB")
			p.take(24, worker, loop, 9)
			p.sample(26, worker, loop+" forNobody")
		}, "main boot run forA", "main boot run forB", false},
		{"an object is freed and another has its address", func(p *play) {
			p.put(12, a, "main", 7)
			p.take(14, worker, loop, 7)
			p.sample(16, worker, loop+" forA")
			p.put(18, b, "main", 7)
			p.sample(20, worker, loop+" forA")
			p.take(22, other, loop, 7)
			p.sample(24, other, loop+" forB")
			p.leave(26, other, loop+" forB", Sleep)
		}, "main boot run forA", "main boot run forB", false},
		{"alike objects are taken by those who serve the requests", func(p *play) {
			p.put(12, a, "main", 7)
			p.put(12, b, "main", 7)
			p.take(14, a, "main get", 7)
			p.take(14, b, "main get", 7)
		}, "main", "main", false},
		{"what is taken in the midst of a job does not end it", func(p *play) {
			p.put(12, a, "main", 7)
			p.put(12, b, "main", 8)
			p.take(14, worker, loop, 7)
			p.take(16, worker, loop+" forA", 8)
			p.sample(18, worker, loop+" forA")
			p.leave(20, worker, loop+" forA", Sleep)
		}, "main boot run forA", "main", false},
		{"a lock of C's is waited for where the next one is taken", func(p *play) {
			p.put(12, a, "main", 7)
			p.take(14, worker, loop, 7)
			lock := p.stack(loop)
			lock.Mutex = true
			p.tracer.SwitchOut(server, worker, 16*ms, lock, Lock)
			p.resume(18, worker)
			p.sample(20, worker, loop+" forA")
			p.leave(22, worker, loop, Lock)
			p.resume(24, worker)
			p.sample(26, worker, loop+" forNobody")
		}, "main boot run forA", "main", false},
		{"an object is passed on", func(p *play) {
			p.put(12, a, "main", 7)
			p.take(14, worker, loop, 7)
			p.sample(16, worker, loop+" forA")
			p.tracer.Job(server, worker, 18*ms, p.stack(loop), 7, deque+1)
			p.take(20, other, loop, 7)
			p.leave(22, other, loop+" alsoForA", Sleep)
		}, "main boot run boot run alsoForA forA", "main", false},
		{"an executor's job does what a queue gives it", func(p *play) {
			p.item = 5 // which was put before
			p.put(12, a, "main", 7)
			p.take(14, worker, loop, 7)
			p.sample(16, worker, loop+" forA")
			p.take(18, worker, loop, 8)
		}, "main boot run forA", "main", false},
		{"an executor's job waits for what another request gives it", func(p *play) {
			p.put(12, a, "main submit@concurrent/futures/thread.py", 5)
			p.put(13, b, "main", 7)
			p.item = 5
			p.sample(14, worker, loop+" forA")
			p.take(15, worker, loop+" forA", 7)
			p.leave(18, worker, loop+" forA", Sleep)
			p.item = 0
		}, "main submit boot run forA", "main", false},
		{"a connection is taken amid work and put back", func(p *play) {
			const get, put = "boot run forB get@queue.py ", "boot run forA put@queue.py "
			p.tracer.Thread(server, a, 12*ms, p.stack("main start"), worker)
			p.tracer.Thread(server, b, 12*ms, p.stack("main start"), other)
			p.take(14, worker, "boot run forA", 7)
			p.leave(15, other, get+"wait@threading.py", Lock)
			p.put(17, worker, put, 7)
			p.handoff(17, worker, put+"notify@threading.py", other)
			p.wake(17, other)
			p.resume(17, other)
			p.take(18, other, get, 7)
			p.leave(20, worker, "boot run forA alsoForA", Sleep)
			p.put(22, other, "boot run forB", 7)
			p.leave(24, other, "boot run forB alsoForB", Sleep)
		}, "main start boot run forA alsoForA", "main start boot run forB alsoForB get wait", false},
		{"a connection is put back by who answers, and taken amid work", func(p *play) {
			p.write(11, 1, a, "main") // it serves requests
			p.read(12, 1, a, "/a")
			p.take(13, a, "main get@queue.py", 7)
			p.tracer.Thread(server, b, 13*ms, p.stack("main start"), other)
			p.put(14, a, "main put@queue.py", 7)
			p.take(16, other, "boot run forB get@queue.py", 7)
			p.put(18, other, "boot run forB", 7)
			p.leave(20, other, "boot run forB", Sleep)
		}, "main", "main start boot run forB", false},
		{"an answer is no work", func(p *play) {
			p.put(12, a, "main", 7)
			p.take(14, worker, loop, 7)
			p.sample(16, worker, loop+" forA")
			p.put(18, worker, loop, 8)
			p.take(20, a, "main", 8)
			p.sample(22, a, "main")
		}, "main boot run forA", "main", false},
		{"executors end with the same object", func(p *play) {
			p.put(12, a, "main submit@concurrent/futures/thread.py", 7)
			p.put(13, a, "main shutdown@concurrent/futures/thread.py", 1)
			p.put(14, b, "main shutdown@concurrent/futures/thread.py", 1)
			p.put(15, worker, "_worker@concurrent/futures/thread.py", 1)
		}, "main", "main", false},
		{"one lane puts the same object twice", func(p *play) {
			p.put(12, a, "main", 7)
			p.put(12, a, "main", 7)
			p.take(14, worker, loop, 7)
			p.take(15, other, loop, 7)
			p.sample(16, worker, loop+" forA")
			p.leave(18, other, loop+" alsoForA", Sleep)
			p.put(20, b, "main", 7)
			p.take(22, worker, loop, 7)
			p.leave(24, worker, loop+" forB", Sleep)
		}, "main boot run alsoForA forA", "main boot run forB", false},
		{"an object is taken unseen, and another has its address", func(p *play) {
			p.put(12, a, "main defer", 7)
			p.put(13, b, "main", 7)
			p.take(14, worker, loop, 7)
			p.leave(16, worker, loop+" forB", Sleep)
		}, "main", "main boot run forB", false},
		{"the same object lies in queues twice", func(p *play) {
			p.put(12, a, "main", 7)
			p.put(12, b, "main", 7)
			p.take(14, worker, loop, 7)
			p.sample(16, worker, loop+" forA")
		}, "main", "main", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPlay(t)
			begin(p)
			test.play(p)
			end(p)
			for path, want := range map[string]string{"/a": test.a, "/b": test.b} {
				x := p.told[path]
				var names []string
				for i := len(x.Frames) - 1; i >= 0; i-- {
					if name := x.Frames[i].Function; name[0] != '[' {
						names = append(names, name)
					}
				}
				if got := strings.Join(names, " "); got != want || x.Undecided != test.unsure {
					t.Errorf("%s: undecided %v, want %q:\n%s", path, x.Undecided, want, draw(x.Frames))
				}
			}
		})
	}
}

// TestItemReused has an executor's new thread be told to take its first job, before any stack tells which job it runs. The
// next one, of which stacks alone tell, has the address of the first.
func TestItemReused(t *testing.T) {
	const (
		worker = server + 1
		item   = 7
		submit = "serve#1 app pool submit@concurrent/futures/thread.py"
		loop   = "boot _worker@concurrent/futures/thread.py"
	)
	p := newPlay(t)
	p.open(1)
	p.open(2)
	p.read(10, 1, server, "/a")
	p.put(11, server, submit, item)
	p.tracer.Thread(server, server, 11*ms, p.stack(submit), worker)
	p.take(12, worker, loop, item)
	p.sample(13, worker, loop+" run@concurrent/futures/thread.py forA")
	runs := func(at uint64, function string) {
		s := p.stack(loop + " run@concurrent/futures/thread.py " + function)
		s.Item = item
		p.tracer.Sample(server, worker, at*ms, s)
	}
	runs(14, "forA")
	p.leave(16, worker, loop, GIL)
	p.read(18, 2, server, "/b")
	p.put(19, server, submit, item)
	p.resume(20, worker)
	runs(21, "forB")
	p.leave(23, worker, loop, Lock)
	p.write(24, 1, server, "serve#1")
	p.write(25, 2, server, "serve#1")
	own := false
	for _, f := range p.told["/a"].Frames {
		if f.Function == "forB" {
			t.Errorf("/a is told with another's job:\n%s", draw(p.told["/a"].Frames))
		}
		own = own || f.Function == "forA"
	}
	if !own {
		t.Errorf("/a lacks its own job:\n%s", draw(p.told["/a"].Frames))
	}
}
