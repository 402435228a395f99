package http2

import "apm-ebpf/internal/http1"

// maxOpen is how many requests may be open on a connection.
const maxOpen = 10_000

// stream is an open request.
type stream struct {
	req  *http1.Request
	seen uint64 // latest write of its answer, before that the read of its head
}

func (c *Conn) add(id uint32, q *http1.Request, ts uint64) {
	if c.streams == nil {
		c.streams = map[uint32]stream{}
	}
	c.streams[id] = stream{q, ts}
	c.targets += len(q.Target)
}

// touch takes that the request is still being answered.
func (c *Conn) touch(id uint32, ts uint64) {
	c.streams[id] = stream{c.streams[id].req, ts}
}

// finish ends a request.
func (c *Conn) finish(id uint32, s stream, end uint64) {
	q := s.req
	delete(c.streams, id)
	c.targets -= len(q.Target)
	if c.in.req == q {
		c.in.req = nil
	}
	if c.out.req == q {
		c.out.req = nil
	}
	q.End, q.NoResponse = end, q.FirstWrite == 0 && !c.doubt.about(s)
	c.ended = append(c.ended, q)
}
