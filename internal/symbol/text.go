package symbol

import (
	"encoding/binary"
	"strings"

	"apm-ebpf/internal/target"
)

// maxText bounds a name or path, in characters. Linux allows paths of 4096 bytes.
const maxText = 4096

// Fields of PyASCIIObject.state that all versions share (CPython Include/cpython/unicodeobject.h).
const (
	kindShift  = 2 // 3 bits: bytes per character
	compactBit = 1 << 5
	asciiBit   = 1 << 6
)

// textObject is a str object that was read.
type textObject struct {
	text  string
	raw   []byte // from its beginning, at least as much as where covers
	where textRange
}

// head is what the fingerprint covers of what was read.
func (t textObject) head() target.Part {
	return target.Part{Addr: t.where.addr, Buf: t.raw[:t.where.data+t.where.head], OK: true}
}

// text decodes a str object, given what was read of its beginning, and reads the rest of it if that is not all.
func (p *Python) text(part target.Part) (t textObject, ok bool) {
	l := p.layout
	raw := part.Buf
	if !part.OK {
		return t, false
	}
	if len(raw) < int(l.StrCompact) { // it crosses a page
		raw = make([]byte, l.StrASCII)
		if p.mem.Read(raw, part.Addr) != nil {
			return t, false
		}
	}
	if word(raw, l.ObjectType) != p.strType {
		return t, false
	}
	length, state := word(raw, l.StrLength), binary.LittleEndian.Uint32(raw[l.StrState:])
	kind := uint64(state >> kindShift & 7)
	if state&compactBit == 0 || kind != 1 && kind != 2 && kind != 4 {
		return t, false
	}
	data := l.StrCompact
	if state&asciiBit != 0 {
		data = l.StrASCII
	}
	size := min(length, maxText) * kind
	t.where = textRange{addr: part.Addr, data: data, head: uint32(min(size, headSize))}
	if end := uint64(data) + size; uint64(len(raw)) < end {
		raw = make([]byte, end)
		if p.mem.Read(raw, part.Addr) != nil {
			return t, false
		}
	}
	t.raw = raw
	t.text = decode(raw[data:][:size], int(kind))
	return t, true
}

// decode reads characters of kind bytes each. What is not a Unicode character, such as half of a surrogate pair, becomes
// U+FFFD.
func decode(raw []byte, kind int) string {
	var out strings.Builder
	out.Grow(len(raw))
	for ; len(raw) >= kind; raw = raw[kind:] {
		switch kind {
		case 1:
			out.WriteRune(rune(raw[0]))
		case 2:
			out.WriteRune(rune(binary.LittleEndian.Uint16(raw)))
		default:
			out.WriteRune(rune(int32(binary.LittleEndian.Uint32(raw))))
		}
	}
	return out.String()
}
