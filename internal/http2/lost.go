package http2

// allowed holds the flags that a frame of each kind may have.
var allowed = [...]uint8{
	frameData:         flagEndStream | flagPadded,
	frameHeaders:      flagEndStream | flagEndHeaders | flagPadded | flagPriority,
	framePriority:     0,
	frameReset:        0,
	frameSettings:     flagAck,
	framePush:         flagEndHeaders | flagPadded,
	framePing:         flagAck,
	frameGoAway:       0,
	frameWindow:       0,
	frameContinuation: flagEndHeaders,
}

// maxLikely is how long DATA is at most where framing was lost. gRPC's C core allows more than anybody sends.
const maxLikely = 4 << 20

// likely tells whether other bytes would hardly look like this frame.
func (h frame) likely() bool {
	limit := maxFrame
	if h.kind == frameData {
		limit = maxLikely
	}
	return int(h.kind) < len(allowed) && h.flags&^allowed[h.kind] == 0 && h.length <= limit &&
		(h.stream == 0 || h.stream <= maxStream && h.stream%2 == 1) && h.valid()
}

// chain tells whether p begins with a frame that can stand where framing was lost, and goes on with frames. It is
// exact where the last one ends with p.
func chain(p []byte) (first frame, found, exact bool) {
	if len(p) < frameHeaderLen {
		return frame{}, false, false
	}
	first = parseFrame(p)
	if first.kind == frameContinuation || first.kind == frameHeaders && !first.has(flagEndHeaders) {
		return first, false, false
	}
	for len(p) >= frameHeaderLen {
		h := parseFrame(p)
		if !h.likely() {
			return first, false, false
		}
		size := frameHeaderLen + h.length
		if size > len(p) {
			return first, true, false
		}
		p = p[size:]
	}
	return first, true, len(p) == 0
}

// Begins tells whether a read that begins with p is likely one of a connection that has been HTTP/2 for longer: a
// client begins a request there.
func Begins(p []byte) bool {
	first, found, _ := chain(p)
	return found && first.kind == frameHeaders
}

// resumes tells whether framing that was lost can be found at the beginning of p. DATA must be of an open request:
// there is little in its header that other bytes, or a header that is read from its second byte on, do not have.
func (c *Conn) resumes(p []byte) (found, exact bool) {
	first, found, exact := chain(p)
	if found && first.kind == frameData && c.streams[first.stream].req == nil {
		return false, false
	}
	return found, exact
}

// find looks for the framing in a part of a call, if it is lost: frames with which the call begins, or frames that end
// with it. It gives the part from there on.
func (c *Conn) find(f *flow, p []byte, begins, ends bool) []byte {
	for f.state == flowLost && len(p) >= frameHeaderLen && (begins || ends) {
		if found, exact := c.resumes(p); found && (begins || exact) {
			f.state = flowHeader
			return p
		}
		p, begins = p[1:], false
	}
	return p
}

// lose gives up the framing of one direction.
func (c *Conn) lose(f *flow, ts uint64) {
	f.lose()
	if f == &c.in {
		c.LostReads++
		c.request = nil
		return
	}
	c.LostWrites++
	c.doubt.begin(ts)
}
