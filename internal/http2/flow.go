package http2

import (
	"encoding/binary"

	"apm-ebpf/internal/http1"
)

// flow follows the frames of one direction.
type flow struct {
	state flowState
	start uint64 // call that brought the first byte of the frame
	raw   [frameHeaderLen]byte
	have  int    // bytes of the frame's header or prefix
	frame frame  // that has begun
	left  int    // bytes of its payload to come
	pad   int    // of these at its end
	last  uint32 // stream up to which the sender of a GOAWAY goes on

	block frame  // that began the field block, of kind HEADERS or PUSH_PROMISE
	since uint64 // call that brought its first byte
	inner bool   // the block goes on
	whole bool   // every field of the last one was known

	req     *http1.Request // that the frame's bytes count for
	decoder decoder
}

type flowState uint8

const (
	flowHeader flowState = iota // before or in a frame's header
	flowPrefix
	flowFields
	flowRest // of the payload, which is not looked at
	flowLost // where a frame begins is not known
)

// event is what a stretch of bytes brought.
type event uint8

const (
	nothing    event = iota
	frameBegan       // its header is complete
	frameEnded
	framesLost // the peer does not keep to the protocol
)

// take takes bytes of p up to an event.
func (f *flow) take(ts uint64, p []byte) (n int, what event) {
	switch f.state {
	case flowHeader:
		if f.have == 0 {
			f.start = ts
		}
		if n = f.gather(p, frameHeaderLen); f.have < frameHeaderLen {
			return n, nothing
		}
		return n, f.begin()
	case flowPrefix:
		n = f.gather(p, f.frame.prefix())
		f.left -= n
		if f.have < f.frame.prefix() {
			return n, nothing
		}
		f.have = 0
		if !f.prefixed() {
			return n, framesLost
		}
	case flowFields:
		n = min(len(p), f.left-f.pad)
		f.decoder.write(p[:n])
		f.left -= n
		if f.left == f.pad {
			f.state = flowRest
		}
	case flowRest:
		n = min(len(p), f.left)
		f.left -= n
	}
	return n, f.progress()
}

// gather takes bytes of a header or prefix of the given length.
func (f *flow) gather(p []byte, length int) (n int) {
	n = copy(f.raw[f.have:length], p)
	f.have += n
	return n
}

// begin takes the frame's header.
func (f *flow) begin() event {
	f.frame, f.have = parseFrame(f.raw[:]), 0
	h := &f.frame
	h.stream &= maxStream
	f.left, f.pad, f.last = h.length, 0, maxStream
	goesOn := h.kind == frameContinuation
	if !h.valid() || goesOn != f.inner || goesOn && h.stream != f.block.stream {
		return framesLost
	}
	switch {
	case h.prefix() > 0:
		f.state = flowPrefix
	case h.fields() && h.length > 0:
		f.state = flowFields
	default:
		f.state = flowRest
	}
	if h.fields() && !goesOn {
		f.block, f.since, f.inner = *h, f.start, true
	}
	return frameBegan
}

// prefixed takes the frame's prefix. It tells false where the padding is longer than what is left.
func (f *flow) prefixed() bool {
	f.state = flowRest
	if f.frame.kind == frameGoAway {
		f.last = binary.BigEndian.Uint32(f.raw[:]) & maxStream
		return true
	}
	if f.frame.has(flagPadded) {
		f.pad = int(f.raw[0])
	}
	if f.left > f.pad {
		f.state = flowFields
	}
	return f.left >= f.pad
}

// progress tells whether the frame has ended, and whether its field block has.
func (f *flow) progress() event {
	if f.state != flowRest || f.left > 0 {
		return nothing
	}
	f.state = flowHeader
	if f.inner && f.frame.has(flagEndHeaders) {
		f.inner = false
		f.whole = f.decoder.end()
	}
	return frameEnded
}

// skip takes bytes that were not kept, n at most, up to the frame's end.
func (f *flow) skip(n int64) (used int64, what event) {
	switch f.state {
	case flowHeader:
		return n, framesLost
	case flowPrefix, flowFields:
		f.have, f.state = 0, flowRest
		if f.frame.fields() {
			f.decoder.cut()
		}
	}
	used = min(n, int64(f.left))
	f.left -= int(used)
	return used, f.progress()
}

// lose gives up the framing.
func (f *flow) lose() {
	f.state, f.have, f.left = flowLost, 0, 0
	f.inner, f.req = false, nil
	f.decoder.lose()
}
