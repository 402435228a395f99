package http1

import (
	"bytes"
	"strings"
)

// Head gathers what is kept of a request's head while it is being read. The zero value is ready.
type Head struct {
	buf     []byte
	span    [fieldCount]struct{ lo, hi int }
	cut     bool // a text was longer than its bound
	parents int  // traceparent headers
}

// Field names a text of a head that is kept.
type Field uint8

const (
	FieldMethod Field = iota
	FieldTarget
	FieldHost
	fieldProto
	fieldTracer
	fieldParent
	fieldCount
)

// bounds is how much of each text is kept, in bytes.
var bounds = [fieldCount]int{
	FieldMethod: 64,
	FieldTarget: 64 << 10,
	FieldHost:   1 << 10,
	fieldProto:  protoLen,
	fieldTracer: 512,
	fieldParent: 512,
}

// maxIdleBuffer is how much memory a connection keeps for the next head.
const maxIdleBuffer = 4 << 10

// Reset makes h ready for another head.
func (h *Head) Reset() {
	buf := h.buf[:0]
	if cap(buf) > maxIdleBuffer {
		buf = nil
	}
	*h = Head{buf: buf}
}

// Set takes a text. Of several the first counts that is not empty.
func (h *Head) Set(f Field, text []byte) {
	if h.len(f) == 0 {
		h.begin(f)
		h.append(f, text)
	}
}

// Header takes a header, the name of which may be in any case.
func (h *Head) Header(name, value []byte) {
	switch len(name) {
	case len("Host"):
		if fold(name, "host") {
			h.Set(FieldHost, value)
		}
	case len("traceparent"):
		if fold(name, "traceparent") {
			if h.parents == 0 {
				h.Set(fieldParent, value)
			}
			h.parents++
		}
	case len("X-APM-TRACER"):
		if fold(name, "x-apm-tracer") && tracerID(value) != nil {
			h.Set(fieldTracer, value)
		}
	}
}

// Fill gives q what was gathered, and makes h ready for another head. All texts share one allocation, and none is made
// where they are those that q had before.
func (h *Head) Fill(q *Request) {
	if q.text != string(h.buf) {
		q.text = string(h.buf)
	}
	all := q.text
	text := func(f Field) string { return all[h.span[f].lo:h.span[f].hi] }
	q.Method, q.Target, q.Host = text(FieldMethod), text(FieldTarget), text(FieldHost)
	if h.len(fieldProto) > 0 {
		q.Proto = text(fieldProto)
	}
	q.TraceID, q.ClientTime, _ = strings.Cut(text(fieldTracer), ":")
	q.Traceparent = text(fieldParent)
	// Of several, none can be trusted (W3C Trace Context, 3.2).
	if h.parents == 1 && validParent(q.Traceparent) {
		q.ParentTraceID = q.Traceparent[3:35]
	}
	q.Truncated = q.Truncated || h.cut
	h.Reset()
}

func (h *Head) len(f Field) int { return h.span[f].hi - h.span[f].lo }

func (h *Head) bytes(f Field) []byte { return h.buf[h.span[f].lo:h.span[f].hi] }

// begin makes f the text that append goes on with.
func (h *Head) begin(f Field) {
	h.span[f].lo, h.span[f].hi = len(h.buf), len(h.buf)
}

// append adds to f up to its bound.
func (h *Head) append(f Field, p []byte) {
	room := bounds[f] - h.len(f)
	if len(p) > room {
		p, h.cut = p[:room], true
	}
	h.buf = append(h.buf, p...)
	h.span[f].hi = len(h.buf)
}

// preface tells whether the head is the one that HTTP/2 begins with.
func (h *Head) preface() bool {
	return bytes.Equal(h.bytes(FieldMethod), []byte("PRI")) &&
		bytes.Equal(h.bytes(FieldTarget), []byte("*")) &&
		bytes.Equal(h.bytes(fieldProto), []byte("HTTP/2.0"))
}
