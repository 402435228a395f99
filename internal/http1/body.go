package http1

import "bytes"

// body follows a message body to its end.
type body struct {
	extent extent
	part   chunkPart
	left   int64 // bytes to come: of a sized body, of a chunk's data or of the CRLF after it
	size   int64 // of the chunk whose header is being read
	digits bool  // the chunk header has a size
	blank  bool  // the line of the trailer is empty so far, …
	cr     bool  // … but for a CR
}

// chunkPart is a place in a chunked body (RFC 9112, 7.1).
type chunkPart uint8

const (
	partSize chunkPart = iota
	partExtension
	partData
	partDataEnd
	partTrailer
)

// maxChunk bounds the size of a chunk, so that no arithmetic on sizes can overflow.
const maxChunk = 1 << 56

// progress is what a stretch of bytes did to a body.
type progress uint8

const (
	bodyMore progress = iota // it goes on
	bodyDone                 // it ended within the stretch
	bodyLost                 // the rest cannot be followed
)

func sizedBody(n int64) body { return body{extent: extentSized, left: n} }

func chunkedBody() body { return body{extent: extentChunked} }

// openBody is a body that ends with the connection.
func openBody() body { return body{extent: extentOpen} }

// feed takes the next bytes of the stream, of which the first n belong to the body.
func (b *body) feed(p []byte) (n int, pr progress) {
	switch b.extent {
	case extentOpen:
		return len(p), bodyMore
	case extentSized:
		used, pr := b.skip(int64(len(p)))
		return int(used), pr
	}
	for n < len(p) && pr == bodyMore {
		var used int
		used, pr = b.chunked(p[n:])
		n += used
	}
	return n, pr
}

// skip takes n bytes of the stream that were not kept, of which used belong to the body. Chunks are followed by
// their sizes; a chunk header among the bytes loses the framing.
func (b *body) skip(n int64) (used int64, pr progress) {
	switch {
	case b.extent == extentOpen:
		return n, bodyMore
	case b.extent == extentSized:
		used = min(n, b.left)
		b.left -= used
		if b.left == 0 {
			return used, bodyDone
		}
		return used, bodyMore
	}
	if b.part == partData {
		used = b.data(n)
	}
	if b.part == partDataEnd {
		crlf := min(n-used, b.left)
		used, b.left = used+crlf, b.left-crlf
		if b.left == 0 {
			b.part = partSize
		}
	}
	if used < n {
		return n, bodyLost
	}
	return used, bodyMore
}

// chunked takes the next bytes of a chunked body, one part of it at most.
func (b *body) chunked(p []byte) (n int, pr progress) {
	switch b.part {
	case partData:
		return int(b.data(int64(len(p)))), bodyMore
	case partDataEnd:
		return 1, b.dataEnd(p[0])
	case partSize:
		return 1, b.digit(p[0])
	case partTrailer:
		return b.trailer(p)
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return len(p), bodyMore
	}
	b.endHeader()
	return i + 1, bodyMore
}

func (b *body) data(n int64) (used int64) {
	used = min(n, b.left)
	b.left -= used
	if b.left == 0 {
		b.part, b.left = partDataEnd, 2
	}
	return used
}

func (b *body) dataEnd(c byte) progress {
	switch {
	case c == '\n':
		b.part, b.left = partSize, 0
	case c == '\r' && b.left == 2:
		b.left = 1
	default:
		return bodyLost
	}
	return bodyMore
}

// digit takes a byte of a chunk's size.
func (b *body) digit(c byte) progress {
	v := hexValue(c)
	switch {
	case v >= 0 && b.size < maxChunk>>4:
		b.size, b.digits = b.size<<4|int64(v), true
	case v >= 0 || !b.digits:
		return bodyLost
	case c == '\n':
		b.endHeader()
	case c == ';' || c == '\r' || c == ' ' || c == '\t':
		b.part = partExtension
	default:
		return bodyLost
	}
	return bodyMore
}

// endHeader ends a chunk's header line.
func (b *body) endHeader() {
	b.part, b.left, b.blank, b.cr = partData, b.size, true, false
	if b.size == 0 {
		b.part = partTrailer
	}
	b.size, b.digits = 0, false
}

// trailer takes bytes of the trailer section, which an empty line ends.
func (b *body) trailer(p []byte) (n int, pr progress) {
	line, _, whole := bytes.Cut(p, []byte("\n"))
	if len(line) > 0 {
		b.blank = b.blank && !b.cr && string(line) == "\r"
		b.cr = true
	}
	switch {
	case !whole:
		return len(p), bodyMore
	case b.blank:
		return len(line) + 1, bodyDone
	}
	b.blank, b.cr = true, false
	return len(line) + 1, bodyMore
}

// hexValue is the value of a hexadecimal digit, -1 for any other byte.
func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
