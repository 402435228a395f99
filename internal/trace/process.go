package trace

import "slices"

// process is a target with its threads and the connections on which a sampled request may be open.
type process struct {
	threads map[uint32]*thread
	open    map[*conn]struct{}
	epoch   uint64 // raised when the first of the open connections opens: what was known of threads is old
}

func newProcess() *process {
	return &process{threads: map[uint32]*thread{}, open: map[*conn]struct{}{}}
}

// thread gives the thread's state, fresh if nothing was seen of it since the first request was read.
func (p *process) thread(tid uint32) *thread {
	t := p.threads[tid]
	if t == nil {
		t = &thread{}
		p.threads[tid] = t
	}
	if t.epoch != p.epoch {
		*t = thread{lane: lane{slices: t.lane.slices[:0], limit: foldAt}, epoch: p.epoch, answered: t.answered}
	}
	return t
}

// watched tells whether anything of the process is worth keeping.
func (p *process) watched() bool { return p != nil && len(p.open) > 0 }

func (p *process) opened(c *conn) {
	if len(p.open) == 0 {
		p.epoch++
	}
	p.open[c] = struct{}{}
}

func (p *process) closed(c *conn) { delete(p.open, c) }

// points are where requests that are open now begin or may end, in order.
func (p *process) points() (at []uint64) {
	for c := range p.open {
		at = append(at, c.begun, c.wrote)
		for _, r := range c.requests {
			at = append(at, r.Start)
		}
	}
	slices.Sort(at)
	return slices.DeleteFunc(at, func(t uint64) bool { return t == 0 })
}

// trim bounds a thread's lane.
func (p *process) trim(t *thread) {
	if len(t.lane.slices) >= t.lane.limit {
		t.lane.trim(p.points())
	}
}
