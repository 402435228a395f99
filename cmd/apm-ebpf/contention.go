package main

import (
	"fmt"
	"os"
	"time"
)

// contention tells whether the services' threads have to wait for CPUs: the agent's own thread does then.
type contention struct {
	times       *os.File // nil: the kernel does not tell them (CONFIG_SCHED_INFO)
	ran, waited uint64   // as told last, ns
	looked      time.Time
	high        bool
}

const (
	contentionEvery = 200 * time.Millisecond // between looks
	contentionShare = 4                      // a thread that waits a quarter of the time that it runs does so for others that run
)

// bind has the calling thread be the one that is looked at.
func (c *contention) bind() {
	c.times, _ = os.Open("/proc/thread-self/schedstat")
}

func (c *contention) look(now time.Time) {
	if c.times == nil || now.Sub(c.looked) < contentionEvery {
		return
	}
	c.looked = now
	var text [64]byte
	n, err := c.times.ReadAt(text[:], 0)
	if n == 0 && err != nil {
		return
	}
	ran, waited := c.ran, c.waited
	if _, err := fmt.Sscan(string(text[:n]), &c.ran, &c.waited); err != nil {
		return
	}
	c.high = contentionShare*(c.waited-waited) > c.ran-ran
}
