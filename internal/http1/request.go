package http1

import "net/netip"

// Request is one request and what became of its answer. Texts are as sent, up to a bound each; they may hold any
// byte. Times are nanoseconds of CLOCK_MONOTONIC.
type Request struct {
	Method string // RFC 9110 token, at most 64 bytes
	Target string // at most 64 KiB
	Proto  string // HTTP/x.y
	Host   string // first Host header, at most 1 KiB

	TraceID       string // text before the first colon of the first valid X-APM-TRACER, else empty
	ClientTime    string // text after that colon, at most 512 bytes together
	Traceparent   string // first traceparent header, valid or not, at most 512 bytes
	ParentTraceID string // 32 hexadecimal digits of the only traceparent, where it is valid and not zero

	Client netip.AddrPort // as a proxy tells it by uWSGI's protocol; else not valid

	Start      uint64 // return of the read that brought the first byte
	HeadDone   uint64 // return of the read that brought the end of the head
	FirstWrite uint64 // return of the write that brought the first byte of the final status; 0 where none came
	End        uint64 // return of the write that brought the last byte; of the close where there was no answer

	// PrevEnd is the End of the request before on this connection, 0 for the first. It is later than Start where
	// the request was pipelined, and known at the latest when FirstWrite is. Always 0 in HTTP/2.
	PrevEnd uint64

	Status   int   // of the final answer; 0 where none came or it could not be read
	BytesIn  int64 // head and body, until End
	BytesOut int64 // interim answers, head and body

	Upgraded     bool // the connection, or the stream of HTTP/2, left HTTP with this answer
	NoResponse   bool // no final answer
	ClientClosed bool // the client left before the answer was complete
	Truncated    bool // part of the head is missing here: beyond a bound, or never seen

	Owner any // for the caller

	text  string // that holds the texts of the head
	begun bool   // its final answer has begun
	h2c   bool   // it asks for HTTP/2 (Upgrade: h2c)
}

// bodiless tells whether an answer with that status ends with its head (RFC 9112, 6.3).
func (q *Request) bodiless(status int) bool {
	return q.Method == "HEAD" || status < 200 || status == 204 || status == 304
}

// upgrades tells whether an answer with that status ends HTTP/1 on the connection (RFC 9110, 7.8 and 9.3.6).
func (q *Request) upgrades(status int) bool {
	return status == 101 || q.Method == "CONNECT" && status >= 200 && status < 300
}

// queue holds the open requests of a connection, oldest first.
type queue struct {
	items []*Request
	first int
}

func (u *queue) len() int { return len(u.items) - u.first }

func (u *queue) front() *Request { return u.at(0) }

// at gives the i-th oldest request, or nil.
func (u *queue) at(i int) *Request {
	if u.len() <= i {
		return nil
	}
	return u.items[u.first+i]
}

func (u *queue) push(q *Request) {
	if u.first > len(u.items)/2 {
		n := copy(u.items, u.items[u.first:])
		clear(u.items[n:])
		u.items, u.first = u.items[:n], 0
	}
	u.items = append(u.items, q)
}

func (u *queue) pop() *Request {
	q := u.front()
	u.items[u.first] = nil
	u.first++
	if u.len() == 0 {
		u.items, u.first = u.items[:0], 0
	}
	return q
}

func (u *queue) reset() {
	clear(u.items)
	u.items, u.first = u.items[:0], 0
}
