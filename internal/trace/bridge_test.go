package trace

import (
	"strings"
	"testing"
)

// TestBridge has a pool's thread wait for a coroutine that its event loop makes a task of, before that is made or after.
func TestBridge(t *testing.T) {
	const pool = server + 1
	wait := "boot middleware __call__@asgiref/sync.py wait"
	awaits := func(p *play, at uint64) {
		s := p.stack(wait)
		s.Work, s.Awaits = 7, p.coroutine("main_wrap@asgiref/sync.py")
		p.tracer.SwitchOut(server, pool, at*ms, s, Lock)
	}
	for name, waits := range map[string]uint64{"first": 14, "later": 18} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.read(10, 1, server, "/")
			p.task(10, server, "loop", "view")
			p.step(10, server, "*view", false)
			begins := p.stack("boot middleware")
			begins.Work = 7
			p.tracer.Sample(server, pool, 12*ms, begins)
			if waits < 16 {
				awaits(p, waits)
			}
			p.leave(15, server, "loop", Poll)
			p.resume(16, server)
			p.task(16, server, "loop", "main_wrap@asgiref/sync.py")
			p.step(17, server, "*main_wrap@asgiref/sync.py", false)
			if waits > 16 {
				awaits(p, waits)
			}
			p.sample(20, server, "loop *main_wrap@asgiref/sync.py async_view")
			p.resume(24, pool)
			p.tracer.Sample(server, pool, 25*ms, begins)
			frames := p.stack("*view").Frames
			p.tracer.Step(server, server, 26*ms, Step{Coroutine: frames[0].Task, Chain: frames, Work: 7, LastDone: true})
			p.write(28, 1, server, "loop *view")
			found := false
			for _, f := range p.told["/"].Frames {
				found = found || f.Function == "async_view"
			}
			if !found {
				t.Errorf("async_view is missing:\n%s", draw(p.told["/"].Frames))
			}
		})
	}
}

// TestBridgeAgain has a pool's thread wait for two coroutines, for one request and then for another. The second has the
// address of the first, which is not known yet to be gone.
func TestBridgeAgain(t *testing.T) {
	const pool = server + 1
	p := newPlay(t)
	views := []string{"first", "second"}
	for n, view := range views {
		conn := uint64(n + 1)
		p.open(conn)
		p.read(10, conn, server, "/"+view)
		p.task(10, server, "loop", view)
		p.step(10, server, "*"+view, false)
	}
	for n, view := range views {
		at := uint64(12 + 10*n)
		s := p.stack("boot middleware __call__@asgiref/sync.py wait")
		s.Work, s.Awaits = uint64(7+n), p.coroutine("main_wrap@asgiref/sync.py")
		p.tracer.SwitchOut(server, pool, (at+1)*ms, s, Lock)
		p.task(at+2, server, "loop", "main_wrap@asgiref/sync.py")
		p.step(at+3, server, "*main_wrap@asgiref/sync.py", n > 0)
		p.sample(at+5, server, "loop *main_wrap@asgiref/sync.py its_"+view)
		p.leave(at+7, server, "loop", Poll)
		p.resume(at+8, server)
		p.resume(at+9, pool)
	}
	for n, view := range views {
		at, frames := uint64(32+n), p.stack("*"+view).Frames
		p.tracer.Step(server, server, at*ms, Step{Coroutine: frames[0].Task, Chain: frames, Work: uint64(7 + n), LastDone: true})
		p.write(at, uint64(n+1), server, "loop *"+view)
		tree := draw(p.told["/"+view].Frames)
		for _, other := range views {
			if strings.Contains(tree, "its_"+other) != (other == view) {
				t.Errorf("%s:\n%s", view, tree)
			}
		}
	}
}

// TestPromise has a pool's thread have an event loop make a task whose result it waits for, before that is made or after.
func TestPromise(t *testing.T) {
	const (
		pool   = server + 1
		future = 0x7000
	)
	waits := func(p *play, at uint64) {
		s := p.stack("boot ask result@concurrent/futures/_base.py wait")
		s.Work, s.Future = 7, future
		p.tracer.SwitchOut(server, pool, at*ms, s, Lock)
	}
	for name, then := range map[string]uint64{"first": 14, "later": 18, "suspended": 22} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t)
			p.open(1)
			p.read(10, 1, server, "/")
			p.task(10, server, "loop", "view")
			p.step(10, server, "*view", false)
			begins := p.stack("boot ask")
			begins.Work = 7
			p.tracer.Sample(server, pool, 12*ms, begins)
			if then < 16 {
				waits(p, then)
			}
			p.leave(15, server, "loop", Poll)
			p.resume(16, server)
			p.tracer.Task(server, server, 16*ms, p.stack("loop callback"), p.coroutine("asked"), future)
			p.step(17, server, "*asked", false)
			if then == 18 {
				waits(p, then)
			}
			p.task(20, server, "loop", "other")
			p.step(20, server, "*other", false)
			if then > 20 {
				waits(p, then)
			}
			p.step(23, server, "*asked", true)
			frames := p.stack("*view").Frames
			p.tracer.Step(server, server, 26*ms, Step{Coroutine: frames[0].Task, Chain: frames, Work: 7, LastDone: true})
			p.write(28, 1, server, "loop *view")
			above := ""
			for i, f := range p.told["/"].Frames { // callers follow
				if f.Function == "asked" {
					above = p.told["/"].Frames[i+1].Function + " of " + p.told["/"].Frames[i+2].Function
				}
			}
			if above != "[task] of ask" {
				t.Errorf("asked is below %q:\n%s", above, draw(p.told["/"].Frames))
			}
		})
	}
}

// TestThreadAnswers has a task give a thread work, which has another task made that answers.
func TestThreadAnswers(t *testing.T) {
	const (
		pool   = server + 1
		future = 0x7000
		item   = 0x9000
	)
	p := newPlay(t)
	p.open(1)
	p.read(10, 1, server, "/")
	p.task(10, server, "loop", "handle")
	p.step(10, server, "*handle", false)
	p.put(12, server, "loop *handle submit", item)
	begins := p.stack("boot app")
	begins.Item = item
	p.tracer.Sample(server, pool, 13*ms, begins)
	waits := p.stack("boot app result@concurrent/futures/_base.py wait")
	waits.Item, waits.Future = item, future
	p.tracer.SwitchOut(server, pool, 14*ms, waits, Lock)
	p.leave(15, server, "loop", Poll)
	p.resume(16, server)
	p.tracer.Task(server, server, 16*ms, p.stack("loop callback"), p.coroutine("send"), future)
	p.step(17, server, "*send", false)
	p.write(20, 1, server, "loop *send")
	p.wants("/", `
loop 10
  handle 10
    submit 0
      [thread] 8
        [runqueue] 1
        boot 7
          app 7
            [task] 4
              send 3
              [runqueue] 1
            result 6
              wait 6
                [lock] 6
    [await] 5`)
}
