package http2

import (
	"bytes"
	"strings"

	"apm-ebpf/internal/http1"

	"golang.org/x/net/http2/hpack"
)

// peer makes the frames of one side of a connection.
type peer struct {
	buf bytes.Buffer
	enc *hpack.Encoder
}

func newPeer() *peer {
	p := new(peer)
	p.enc = hpack.NewEncoder(&p.buf)
	return p
}

// block encodes fields, each "name=value".
func (p *peer) block(fields ...string) string {
	p.buf.Reset()
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		if err := p.enc.WriteField(hpack.HeaderField{Name: name, Value: value}); err != nil {
			panic(err)
		}
	}
	return p.buf.String()
}

// headers makes a HEADERS frame with the whole block.
func (p *peer) headers(stream uint32, flags uint8, fields ...string) string {
	return made(frameHeaders, flags|flagEndHeaders, stream, p.block(fields...))
}

// get makes a request for a path that has no body.
func (p *peer) get(stream uint32, path string) string {
	return p.headers(stream, flagEndStream, ":method=GET", ":scheme=http", ":authority=h", ":path="+path)
}

// answer makes the head of an answer.
func (p *peer) answer(stream uint32, flags uint8, status string) string {
	return p.headers(stream, flags, ":status="+status, "content-type=text/plain", "x-of="+status)
}

// made makes a frame.
func made(kind frameKind, flags uint8, stream uint32, payload string) string {
	n := len(payload)
	return string([]byte{byte(n >> 16), byte(n >> 8), byte(n), byte(kind), flags,
		byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}) + payload
}

func data(stream uint32, flags uint8, text string) string {
	return made(frameData, flags, stream, text)
}

func reset(stream uint32) string { return made(frameReset, 0, stream, "\x00\x00\x00\x08") }

func goAway(last uint32) string {
	return made(frameGoAway, 0, 0, string([]byte{0x80 | byte(last>>24), byte(last >> 16), byte(last >> 8), byte(last), 0, 0, 0, 0}))
}

// hello is what a client begins with.
var hello = preface + settings

var settings = made(frameSettings, 0, 0, "\x00\x03\x00\x00\x00\x64")

func whole(text string) http1.Chunk { return http1.Chunk{Head: []byte(text), Len: len(text)} }

// cut is a call of which the middle was not kept.
func cut(text string, head, tail int) http1.Chunk {
	return http1.Chunk{Head: []byte(text[:head]), Tail: []byte(text[len(text)-tail:]), Len: len(text)}
}
