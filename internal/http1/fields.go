package http1

import (
	"bytes"
	"strings"
)

const (
	maxHost  = 1 << 10
	maxTrace = 512
)

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
	case len("Host"):
		if fold(name, "host") && r.kept.len(fieldHost) == 0 {
			r.kept.set(fieldHost, value, maxHost)
		}
	case len("Expect"):
		if fold(name, "expect") && fold(value, "100-continue") {
			r.expects = true
		}
	case len("traceparent"):
		if fold(name, "traceparent") {
			if r.parents == 0 {
				r.kept.set(fieldParent, value, maxTrace)
			}
			r.parents++
		}
	case len("X-APM-TRACER"):
		if fold(name, "x-apm-tracer") && r.kept.len(fieldTracer) == 0 && tracerID(value) != nil {
			r.kept.set(fieldTracer, value, maxTrace)
		}
	case len("Content-Length"), len("Transfer-Encoding"):
		r.framing.header(name, value, r.line.over)
	}
}

// request makes the request whose head was just read, and lets go of the head. All texts share one allocation.
func (r *reader) request() *Request {
	text, cut := r.kept.strings(), r.kept.cut
	r.kept.reset()
	q := &Request{
		Method:      text[fieldMethod],
		Target:      text[fieldTarget],
		Proto:       text[fieldProto],
		Host:        text[fieldHost],
		Traceparent: text[fieldParent],
		Start:       r.start,
		BytesIn:     r.size,
		Truncated:   r.gapped || cut,
	}
	if tracer := text[fieldTracer]; tracer != "" {
		q.TraceID, q.ClientTime, _ = strings.Cut(tracer, ":")
	}
	// Of several, none can be trusted (W3C Trace Context, 3.2).
	if r.parents == 1 && validParent(q.Traceparent) {
		q.ParentTraceID = q.Traceparent[3:35]
	}
	return q
}

// field names a text of a head that is kept.
type field uint8

const (
	fieldMethod field = iota
	fieldTarget
	fieldProto
	fieldHost
	fieldTracer
	fieldParent
	fieldCount
)

// kept holds the texts of a head while it is being read.
type kept struct {
	buf  []byte
	span [fieldCount]struct{ lo, hi int }
	cut  bool // a text was longer than its bound
}

// maxIdleBuffer is how much memory a connection keeps for the next head.
const maxIdleBuffer = 4 << 10

func (k *kept) reset() {
	buf := k.buf[:0]
	if cap(buf) > maxIdleBuffer {
		buf = nil
	}
	*k = kept{buf: buf}
}

func (k *kept) len(f field) int { return k.span[f].hi - k.span[f].lo }

func (k *kept) bytes(f field) []byte { return k.buf[k.span[f].lo:k.span[f].hi] }

// begin makes f the text that append goes on with.
func (k *kept) begin(f field) {
	k.span[f].lo, k.span[f].hi = len(k.buf), len(k.buf)
}

// append adds to f up to its bound.
func (k *kept) append(f field, p []byte, bound int) {
	room := bound - k.len(f)
	if len(p) > room {
		p, k.cut = p[:room], true
	}
	k.buf = append(k.buf, p...)
	k.span[f].hi = len(k.buf)
}

func (k *kept) set(f field, p []byte, bound int) {
	k.begin(f)
	k.append(f, p, bound)
}

// strings gives all texts.
func (k *kept) strings() (text [fieldCount]string) {
	all := string(k.buf)
	for f, s := range k.span {
		text[f] = all[s.lo:s.hi]
	}
	return text
}

// preface tells whether the head is the one that HTTP/2 begins with.
func (k *kept) preface() bool {
	return bytes.Equal(k.bytes(fieldMethod), []byte("PRI")) &&
		bytes.Equal(k.bytes(fieldTarget), []byte("*")) &&
		bytes.Equal(k.bytes(fieldProto), []byte("HTTP/2.0"))
}
