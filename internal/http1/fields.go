package http1

// fields takes lines of the request's header section, which an empty line ends.
func (r *reader) fields(p []byte) (n int, head bool) {
	for n < len(p) {
		text, used, whole := r.line.next(p[n:])
		n += used
		switch {
		case !whole:
		case r.line.tail:
			r.line.tail = false
		case len(text) == 0:
			return n, true
		default:
			r.field(header(text))
		}
	}
	return n, false
}

// field takes one header.
func (r *reader) field(name, value []byte) {
	switch len(name) {
	case len("Expect"):
		if fold(name, "expect") && fold(value, "100-continue") {
			r.expects = true
		}
	case len("Upgrade"):
		if fold(name, "upgrade") && fold(value, "h2c") {
			r.h2c = true
		}
	case len("Content-Length"), len("Transfer-Encoding"):
		r.framing.header(name, value, r.line.over)
	default:
		r.head.Header(name, value)
	}
}

// request makes the request whose head was just read, and lets go of the head.
func (r *reader) request() *Request {
	q := r.pool.get()
	*q = Request{text: q.text, Start: r.start, BytesIn: r.size, Truncated: r.gapped, Client: r.client, h2c: r.h2c}
	r.head.Fill(q)
	return q
}
