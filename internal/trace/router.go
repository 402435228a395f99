package trace

import (
	"net/netip"
	"slices"
)

// passed are the last requests that came from proxies by uWSGI's own protocol, which names the proxies' clients.
type passed struct {
	requests [256]struct {
		client     netip.AddrPort
		pid        uint32
		start, end uint64
	}
	n    int
	came bool // one of them at least has begun
}

func (p *passed) add(r *Request) {
	at := &p.requests[p.n%len(p.requests)]
	at.client, at.pid, at.start, at.end = r.Client, r.PID, r.Start, r.End
	p.n++
}

// routed tells that a process has only passed on a request to another target, which told it or will: the router of uWSGI's
// --http is a copy of the master, Python and all.
func (t *Tracer) routed(c *conn, r *Request) bool {
	return r.lane == nil && t.passed.came && (t.passed.has(c, r) || t.passesNow(c, r))
}

// has tells that another target has told the request.
func (p *passed) has(c *conn, r *Request) bool {
	for i := range min(p.n, len(p.requests)) {
		at := &p.requests[(p.n-1-i)%len(p.requests)]
		if at.end < r.Start {
			return false
		}
		if at.client == c.remote && at.pid != r.PID && at.start >= r.Start {
			return true
		}
	}
	return false
}

// passesNow tells that who answered the request has not closed its connection yet, with which its answer ends.
func (t *Tracer) passesNow(c *conn, r *Request) bool {
	for pid, p := range t.processes {
		for _, other := range p.open {
			if pid != r.PID && slices.ContainsFunc(other.requests, func(o *Request) bool { return o.Client == c.remote && o.Start >= r.Start }) {
				return true
			}
		}
	}
	return false
}
