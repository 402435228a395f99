package symbol

import (
	"encoding/binary"
	"strings"
	"unicode"

	"apm-ebpf/internal/target"
)

// maxText bounds a name or path, in characters. Linux allows paths of 4096 bytes.
const maxText = 4096

// Fields of PyASCIIObject.state from kind on (CPython Include/cpython/unicodeobject.h).
const (
	kindMask   = 7 // bytes per character
	compactBit = 1 << 3
	asciiBit   = 1 << 4
)

// textObject is a str object that was read.
type textObject struct {
	text   string
	raw    []byte // of the text, as the object holds it
	length uint64 // characters
}

// textKind tells from a str's state how many bytes its characters have and where they begin.
func (l *Layout) textKind(state uint32) (kind int, data uint32, ok bool) {
	state >>= l.StrKind
	kind = int(state & kindMask)
	data = l.StrCompact
	if state&asciiBit != 0 {
		data = l.StrASCII
	}
	ok = state&compactBit != 0 && (kind == 1 || (kind == 2 || kind == 4) && state&asciiBit == 0)
	return kind, data, ok
}

// readText reads a str object.
func (p *Python) readText(addr uint64) (t textObject, ok bool) {
	parts := []target.Part{objectHead(addr)}
	if p.mem.ReadParts(parts) != nil {
		return t, false
	}
	return p.text(parts[0])
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
	kind, data, ok := l.textKind(binary.LittleEndian.Uint32(raw[l.StrState:]))
	if !ok {
		return t, false
	}
	t.length = word(raw, l.StrLength)
	size := min(t.length, maxText) * uint64(kind)
	if end := uint64(data) + size; uint64(len(raw)) < end {
		raw = make([]byte, end)
		if p.mem.Read(raw, part.Addr) != nil {
			return t, false
		}
	}
	t.raw = raw[data:][:size]
	t.text, ok = decode(t.raw, kind)
	return t, ok
}

// decode reads characters of kind bytes each. What is not a Unicode character, such as half of a surrogate pair, becomes
// U+FFFD; what is beyond them all is no text. No name or path has a NUL, which stands at the end of every str: its length
// is wrong then.
func decode(raw []byte, kind int) (text string, ok bool) {
	var out strings.Builder
	out.Grow(len(raw))
	for ; len(raw) >= kind; raw = raw[kind:] {
		switch kind {
		case 1:
			out.WriteRune(rune(raw[0]))
		case 2:
			out.WriteRune(rune(binary.LittleEndian.Uint16(raw)))
		default:
			char := binary.LittleEndian.Uint32(raw)
			if char > unicode.MaxRune {
				return "", false
			}
			out.WriteRune(rune(char))
		}
	}
	return out.String(), strings.IndexByte(out.String(), 0) < 0
}
