package http1

import (
	"bytes"
	"encoding/binary"
)

// A load balancer may tell the client's address before the first request, in the PROXY protocol's text line or
// binary header. Servers that expect it take it off, so it is no garbage.
var (
	proxyLines  = [][]byte{[]byte("PROXY TCP4 "), []byte("PROXY TCP6 "), []byte("PROXY UNKNOWN")}
	proxyBinary = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// proxyBinaryLen is the length of the binary header's fixed part, the last two bytes of which are the rest's.
const proxyBinaryLen = 16

// preamble looks for a PROXY header at the beginning of a connection.
func (r *reader) preamble(p []byte) {
	if bytes.HasPrefix(p, proxyBinary) && len(p) >= proxyBinaryLen {
		rest := binary.BigEndian.Uint16(p[proxyBinaryLen-2:])
		r.state, r.body = readPreamble, sizedBody(proxyBinaryLen+int64(rest))
		return
	}
	for _, text := range proxyLines {
		if bytes.HasPrefix(p, text) && !beginsRequest(p) {
			r.state, r.body = readPreamble, openBody()
		}
	}
}

// feedPreamble takes bytes of a PROXY header.
func (r *reader) feedPreamble(p []byte) (n int) {
	if r.body.extent == extentSized {
		return r.feedBody(p)
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return len(p)
	}
	r.state = readBetween
	return i + 1
}
