package trace

import "net/netip"

// passed are the last requests that came from proxies by uWSGI's own protocol, which names the proxies' clients.
type passed struct {
	requests [256]struct {
		client     netip.AddrPort
		pid        uint32
		start, end uint64
	}
	n int
}

func (p *passed) add(r *Request) {
	at := &p.requests[p.n%len(p.requests)]
	at.client, at.pid, at.start, at.end = r.Client, r.PID, r.Start, r.End
	p.n++
}

// routed tells that a process has only passed on a request to another target, which told it: the router of uWSGI's --http
// is a copy of the master, Python and all.
func (p *passed) routed(c *conn, r *Request) bool {
	if r.lane != nil {
		return false
	}
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
