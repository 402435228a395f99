package main

import (
	"slices"
	"time"

	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/probe"
)

const (
	slow      = uint64(time.Millisecond / 2)  // a request that takes longer is worth reading its goroutine
	linger    = uint64(20 * time.Millisecond) // … and for so long after slow ones that waited the next is looked for, too
	resting   = uint64(10 * time.Millisecond) // … while slow ones were found to be at work rather than to wait
	brief     = uint64(5 * time.Millisecond)  // slow ones that are over so soon, or were not seen to wait, may only have had no CPU
	long      = uint64(2 * time.Millisecond)  // a wait that is worth looks where these take CPUs from threads that wait for them
	shortRest = uint64(10 * time.Millisecond)
	longRest  = uint64(40 * time.Millisecond)
	longest   = uint64(80 * time.Millisecond) // where threads wait for CPUs
	vainWakes = 20                            // so many in a row tell that the count of slow requests went astray
)

// goroutines are those of all Go services, read from outside while requests are slow. What was seen waits until the
// events that happened before have been handled. Times are of CLOCK_MONOTONIC, ns.
type goroutines struct {
	reading bool            // some are read now
	since   uint64          // since when
	last    uint64          // when one was found slow
	waits   bool            // one of them was seen to wait
	long    bool            // … for long
	busy    bool            // they do, and threads wait for CPUs
	woken   bool            // for a slow request, since they were last looked for; if resting was, then as a CPU was idle
	vain    int             // how often in a row there was none
	told    probe.SlowWakes // what wakes the agent for one, as the kernel programs were told
	rest    uint64          // how long to leave slow requests alone after some that did not wait: the machine may have no idle time
	until   uint64          // when that is over
	next    uint64          // when to look next
	wake    time.Duration   // CPU time that it takes to wait for that, smoothed
	newest  uint64          // connection or goroutine of the request that began last, 0: it was answered
	begun   int             // requests that did while that was not, since …
	counted time.Time       // … this
	dense   bool            // they began so often that each finds the slow ones soon enough
	sights  []sight
	gone    int      // how many of them have been told
	pcs     []uint64 // of all sights
}

// sight is a goroutine.Sight that waits, or if it is of no goroutine, that all of a process were looked at, and After when
// those were last searched for that they had started.
type sight struct {
	goroutine.Sight
	pid      uint32
	from, to int  // its program counters in goroutines.pcs
	lowered  bool // they are looked at too seldom for precise times
}

// count takes note of requests that begin while another is open: a client that waits for each answer begins none while one is
// slow.
func (g *goroutines) count(e *probe.Event) {
	switch {
	case e.Begins():
		g.begins(e.IO().Connection)
	case e.Kind == probe.KindServe:
		g.begins(e.Serve().Goroutine)
	case e.Kind == probe.KindSend && e.IO().Connection == g.newest, e.Kind == probe.KindServed && e.Serve().Goroutine == g.newest:
		g.newest = 0
	}
}

func (g *goroutines) begins(by uint64) {
	if g.newest != 0 {
		g.begun++
	}
	g.newest = by
}

// lookForSlow has slow requests of Go looked for on idle CPUs too, unless others begin all the time: each interrupt has the
// services go on more slowly.
func (a *agent) lookForSlow(now time.Time) {
	const often = time.Millisecond / 2 // between two
	g := &a.goroutines
	if elapsed := now.Sub(g.counted); elapsed >= pollOften {
		g.dense = time.Duration(g.begun)*often > elapsed
		g.begun, g.counted = 0, now
	}
	g.busy = g.dense && a.contention.high
	a.hinder(a.probe.LookForSlow(a.services.anyGo() && !g.dense))
}

// readGoroutines looks at what the goroutines of slow requests do.
func (a *agent) readGoroutines() error {
	g := &a.goroutines
	now, least := probe.Now(), slow
	if g.woken {
		g.until = 0
	}
	if now < g.until || g.reading && g.busy && !g.long && now-g.since >= brief {
		least = resting
	}
	g.next = now + uint64(pollEvery)
	watching := false
	for pid, s := range a.services.known {
		if s.golang == nil {
			continue
		}
		some, long := s.golang.watch(now, least)
		g.long = g.long || long
		if !some {
			continue
		}
		watching, g.last = true, now
		if now >= s.golang.next {
			lowered := s.golang.look(now, g.wake, func(seen *goroutine.Sight) { g.keep(uint32(pid), seen) })
			g.add(sight{Sight: goroutine.Sight{Time: probe.Now(), After: s.golang.reader.Searched()}, pid: uint32(pid), lowered: lowered})
		}
		g.next = min(g.next, s.golang.next)
	}
	if !watching && g.reading && g.found() && now < g.last+linger {
		watching, g.next = true, now+uint64(time.Millisecond)
	}
	switch {
	case watching && !g.reading:
		g.since = now
	case g.reading && !watching:
		g.finish(now)
	case g.woken && !watching:
		if g.vain++; g.vain > vainWakes {
			g.until = now + longRest
		}
	}
	if watching {
		g.vain = 0
	}
	g.reading, g.woken = watching, false
	wakes := probe.AnySlow
	switch {
	case watching:
		wakes = probe.NoSlow
	case now < g.until:
		wakes = probe.SlowAndIdle
	}
	if wakes == g.told {
		return nil
	}
	g.told = wakes
	return a.probe.SetSlowWakes(wakes)
}

// finish takes that no slow request is left.
func (g *goroutines) finish(now uint64) {
	most := longRest
	if g.busy {
		most = longest
	}
	if g.found() || !g.busy && now-g.since >= brief {
		g.rest = 0
	} else {
		g.rest = min(max(2*g.rest, shortRest), most)
	}
	g.waits, g.long, g.until = false, false, now+g.rest
}

// found tells that looks have shown what is worth them.
func (g *goroutines) found() bool {
	if g.busy {
		return g.long
	}
	return g.waits
}

func (g *goroutines) keep(pid uint32, seen *goroutine.Sight) {
	g.waits = g.waits || seen.State == goroutine.Waiting || seen.State == goroutine.Syscall
	g.add(sight{Sight: *seen, pid: pid})
}

// add has a sight wait, with its program counters, which the next one will overwrite.
func (g *goroutines) add(s sight) {
	s.from = len(g.pcs)
	g.pcs = append(g.pcs, s.PCs...)
	s.to, s.PCs = len(g.pcs), nil
	g.sights = append(g.sights, s)
}

// tellSights tells the tracer what was seen up to a time.
func (a *agent) tellSights(until uint64) {
	g := &a.goroutines
	for ; g.gone < len(g.sights) && g.sights[g.gone].Time <= until; g.gone++ {
		seen := &g.sights[g.gone]
		seen.PCs = g.pcs[seen.from:seen.to]
		s := a.services.goService(seen.pid)
		switch {
		case s == nil:
		case seen.GoID == 0:
			a.tracer.GoLooked(seen.pid, seen.Time, seen.After, seen.lowered)
		default:
			a.tracer.GoSight(seen.pid, &seen.Sight, s.parked(&seen.Sight), s.started(&seen.Sight))
		}
	}
	g.drop()
}

// drop drops the sights that have been told, once they are half of all: while slow requests follow each other some always
// wait.
func (g *goroutines) drop() {
	if 2*g.gone < len(g.sights) {
		return
	}
	end := 0
	if g.gone > 0 {
		end = g.sights[g.gone-1].to
	}
	g.pcs = slices.Delete(g.pcs, 0, end)
	g.sights = slices.Delete(g.sights, 0, g.gone)
	for i := range g.sights {
		g.sights[i].from -= end
		g.sights[i].to -= end
	}
	g.gone = 0
}
