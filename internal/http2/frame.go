package http2

import "encoding/binary"

// Frames (RFC 9113, 4.1 and 6).
type frameKind uint8

const (
	frameData frameKind = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
)

// Flags. flagEndStream is of DATA and HEADERS; PING and SETTINGS have flagAck in its place.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	frameHeaderLen = 9
	maxStream      = 1<<31 - 1 // the bit above is reserved
)

// frame is a frame's header.
type frame struct {
	length int // of the payload
	kind   frameKind
	flags  uint8
	stream uint32 // with the reserved bit
}

// parseFrame reads the frameHeaderLen first bytes of p.
func parseFrame(p []byte) frame {
	return frame{
		length: int(p[0])<<16 | int(p[1])<<8 | int(p[2]),
		kind:   frameKind(p[3]),
		flags:  p[4],
		stream: binary.BigEndian.Uint32(p[5:frameHeaderLen]),
	}
}

func (h frame) has(flag uint8) bool { return h.flags&flag != 0 }

// fields tells whether the frame carries a part of a field block.
func (h frame) fields() bool {
	return h.kind == frameHeaders || h.kind == frameContinuation || h.kind == framePush
}

// ends tells whether the frame says that its sender's side of the stream ends.
func (h frame) ends() bool {
	return (h.kind == frameData || h.kind == frameHeaders) && h.has(flagEndStream)
}

// prefix is the number of bytes of the payload that have to be read before the rest can be understood.
func (h frame) prefix() (n int) {
	switch h.kind {
	case frameHeaders:
		if h.has(flagPriority) {
			n = 5
		}
	case framePush, frameGoAway:
		n = 4
	}
	if h.fields() && h.kind != frameContinuation && h.has(flagPadded) {
		n++
	}
	return n
}

// maxFrame is the least that peers must take (RFC 9113, 4.2). More is for DATA, if the other side allows it.
const maxFrame = 16 << 10

// valid tells whether a peer may send such a frame. Kinds that RFC 9113 does not know are to be ignored (4.1).
func (h frame) valid() bool {
	switch h.kind {
	case frameData, frameHeaders, framePush, frameContinuation:
		return h.stream != 0 && h.length >= h.prefix()
	case framePriority:
		return h.stream != 0 && h.length == 5
	case frameReset:
		return h.stream != 0 && h.length == 4
	case frameSettings:
		return h.stream == 0 && h.length%6 == 0 && (h.length == 0 || !h.has(flagAck))
	case framePing:
		return h.stream == 0 && h.length == 8
	case frameGoAway:
		return h.stream == 0 && h.length >= 8
	case frameWindow:
		return h.length == 4
	}
	return h.length <= maxFrame
}
