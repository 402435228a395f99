package http1

// Pool keeps requests that are done with for others to come, so that one that is over costs the next no memory. The zero
// value is ready. Its methods are for one goroutine.
type Pool struct{ spare []*Request }

const (
	poolMax = 256     // requests
	textMax = 4 << 10 // of a request that is kept, bytes
)

// Put takes a request that nothing refers to any more. Its texts stay as they are.
func (p *Pool) Put(q *Request) {
	if len(p.spare) < poolMax && len(q.text) <= textMax {
		p.spare = append(p.spare, q)
	}
}

// get gives a request of which only the text is to be used.
func (p *Pool) get() *Request {
	if p == nil || len(p.spare) == 0 {
		return &Request{}
	}
	last := len(p.spare) - 1
	q := p.spare[last]
	p.spare = p.spare[:last]
	return q
}
