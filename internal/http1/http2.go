package http1

// HTTP2 tells whether the call before showed that the connection goes on in HTTP/2: after how many bytes of that
// call, and which request will be answered there as the first stream (Upgrade: h2c), nil if none. It is told once.
func (c *Conn) HTTP2() (first *Request, after int, turned bool) {
	if !c.turned {
		return nil, 0, false
	}
	first, c.first, c.turned = c.first, nil, false
	return first, c.after, true
}

// handOver gives the oldest open request to HTTP/2 (RFC 7540, 3.2). Others were read too early to be any.
func (c *Conn) handOver(ts uint64) {
	c.opaque, c.turned = true, true
	c.first = c.open.pop()
	c.out.reset()
	c.endAll(ts, false)
}
