package trace

import (
	"net/netip"

	"apm-ebpf/internal/http1"
)

// Cut tells what ended a request before its time.
type Cut uint8

const (
	NotCut Cut = iota
	TargetExited
	AgentStopped
)

// Request is a request that has ended.
type Request struct {
	*http1.Request
	PID, TID      uint32         // that wrote the answer; without one, that read the head
	Local, Remote netip.AddrPort // not valid on a Unix socket
	Sampled       bool
	Lost          uint64 // stack events lost in its window
	Cut           Cut

	conn   *conn
	lostAt uint64
	thread *thread
}

func (t *Tracer) begin(c *conn, h *http1.Request, x *Transfer, first bool) {
	r := &Request{
		Request: h,
		PID:     x.PID, TID: x.TID,
		Local: c.local, Remote: c.remote,
		Sampled: c.sampled && (first || t.sampleEvery <= 1),
		conn:    c,
		lostAt:  c.lost,
	}
	h.Owner = r
	c.requests = append(c.requests, r)
}

// finish hands a request out. now is the time of the event that ended it.
func (t *Tracer) finish(c *conn, h *http1.Request, now uint64) {
	r, ok := h.Owner.(*Request)
	if !ok {
		return
	}
	for i, other := range c.requests {
		if other == r {
			c.requests = append(c.requests[:i], c.requests[i+1:]...)
			break
		}
	}
	r.Lost = c.lost - r.lostAt
	if r.Sampled {
		r.thread = t.process(r.PID).thread(r.TID)
		if r.End > r.thread.told() {
			r.thread.settle(now)
		}
	}
	t.finished(r)
	if r.thread != nil {
		r.thread.answered = r.End
	}
	r.conn, r.thread = nil, nil
}

// Duration is the length of the request's window, ns.
func (r *Request) Duration() int64 { return int64(r.End - min(r.Start, r.End)) }
