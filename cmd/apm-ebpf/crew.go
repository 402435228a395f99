package main

import "apm-ebpf/internal/goroutine"

// crew are the goroutines of servers that bring an event loop of their own (netpoll, nbio): the loops, which read for all
// connections, and those that were seen to answer what loops have read. All are looked at while a request is slow that a loop
// has read, with all others where there are few: who serves it is only known once it is answered.
type crew struct {
	loops, workers map[uint64]runtimeG // by number
	watched        map[uint64]bool     // workers too
	rests          int                 // looks for which others are not looked for
}

// runtimeG is where a goroutine's runtime.g lies, and its trackingSeq when it last read or wrote.
type runtimeG struct {
	address uint64
	ran     uint8
}

// workersMax bounds the goroutines among which others are looked at, and the workers that are kept in mind: some end when they
// have answered, which is seen only where they are looked at.
const workersMax = 1024

// othersEvery is how many looks there are to each search for goroutines that are not looked at yet: it goes through all.
const othersEvery = 5

func newCrew() crew {
	return crew{loops: map[uint64]runtimeG{}, workers: map[uint64]runtimeG{}, watched: map[uint64]bool{}}
}

// isLoop tells whether a goroutine is known for an event loop.
func (c *crew) isLoop(id uint64) bool {
	_, known := c.loops[id]
	return known
}

// answers takes that a goroutine answers what a loop has read.
func (c *crew) answers(id uint64, g runtimeG) {
	if c.isLoop(id) {
		return
	}
	if len(c.workers) >= workersMax {
		clear(c.workers)
	}
	c.workers[id] = g
}

// ended takes that a goroutine is no more.
func (c *crew) ended(id uint64) {
	delete(c.loops, id)
	delete(c.workers, id)
	delete(c.watched, id)
}

// watch has all looked at, or none.
func (c *crew) watch(r *goroutine.Reader, yes bool) {
	if !yes {
		for id := range c.watched {
			r.Unwatch(id)
		}
		clear(c.watched)
		c.rests = 0
		return
	}
	for _, some := range []map[uint64]runtimeG{c.loops, c.workers} {
		for id, g := range some {
			if !r.Watches(id) {
				r.Watch(id, g.address, g.ran)
				c.watched[id] = true
			}
		}
	}
	if c.rests--; c.rests > 0 {
		return
	}
	found := r.Others(workersMax, func(id, g uint64) {
		r.Watch(id, g, 0)
		c.watched[id] = true
	})
	if found {
		c.rests = othersEvery
	}
}
