package symbol

import (
	"encoding/binary"
	"hash/maphash"

	"apm-ebpf/internal/target"
)

// code is what is known of a code object.
type code struct {
	fn   *Func
	used bool   // since the last trim
	addr uint64 // of the PyCodeObject
	sum  uint64 // fingerprint

	version   uint32 // co_version, 0 where there is none
	units     uint64 // ob_size: number of 2-byte code units, 3.11 and later
	lineTable uint64
	texts     []textRange // what the fingerprint covers besides the object itself

	lines     []span
	linesRead bool
}

// textRange is where the beginning of a string or bytes object lies: its header and length, and head bytes of data.
type textRange struct {
	addr       uint64
	data, head uint32
}

// headSize is how much of a string's or line table's data the fingerprint covers.
const headSize = 64

const (
	coCoroutine         = 0x80  // CO_COROUTINE, CPython Include/cpython/code.h
	coIterableCoroutine = 0x100 // CO_ITERABLE_COROUTINE
)

// load reads a code object in two calls: the object, then its strings and the head of its line table.
func (p *Python) load(addr uint64) *code {
	unknown := &code{fn: Unknown, used: true, addr: addr}
	l := p.layout
	raw := make([]byte, l.CodeSize)
	if err := p.mem.Read(raw, addr); err != nil || word(raw, l.ObjectType) != p.codeType {
		return unknown
	}
	c := &code{used: true, addr: addr, lineTable: word(raw, l.CodeLineTable)}
	if !l.FrameIsObject {
		c.units = word(raw, l.BytesSize)
	}
	if l.CodeVersion != NoOffset {
		c.version = binary.LittleEndian.Uint32(raw[l.CodeVersion:])
	}
	nameAt := l.CodeName
	if l.CodeQualname != NoOffset {
		nameAt = l.CodeQualname
	}
	name, file := objectHead(word(raw, nameAt)), objectHead(word(raw, l.CodeFilename))
	parts := []target.Part{name, file, objectHead(c.lineTable)}
	if err := p.mem.ReadParts(parts); err != nil {
		return unknown
	}
	nameText, ok1 := p.text(parts[0])
	fileText, ok2 := p.text(parts[1])
	if !ok1 || !ok2 {
		return unknown
	}
	flags := binary.LittleEndian.Uint32(raw[l.CodeFlags:])
	c.fn = &Func{
		Name:      nameText.text,
		File:      fileText.text,
		ShortFile: p.paths.Short(fileText.text),
		Line:      max(0, int(int32(binary.LittleEndian.Uint32(raw[l.CodeFirstLine:])))),
		App:       p.paths.IsApp(fileText.text),
		Coroutine: flags&(coCoroutine|coIterableCoroutine) != 0,
	}
	seen := []target.Part{{Buf: raw, OK: true}}
	if c.version == 0 {
		table, ok := p.tableHead(parts[2])
		if !ok {
			return unknown
		}
		c.texts = []textRange{nameText.where, fileText.where, table.where}
		seen = append(seen, nameText.head(), fileText.head(), table.head())
	}
	// What was read last must still belong to what was read first.
	again := p.ranges(c)
	if err := p.mem.ReadParts(again); err != nil {
		return unknown
	}
	if c.sum = p.fingerprint(c, seen); c.sum != p.fingerprint(c, again) {
		return unknown
	}
	return c
}

// tableHead covers the size of a line table and its first bytes, as far as its page goes.
func (p *Python) tableHead(part target.Part) (t textObject, ok bool) {
	l := p.layout
	raw := part.Buf
	if len(raw) < int(l.BytesData) { // it crosses a page
		raw = make([]byte, l.BytesData)
		part.OK = p.mem.Read(raw, part.Addr) == nil
	}
	if !part.OK {
		return t, false
	}
	t.raw = raw
	t.where = textRange{addr: part.Addr, data: l.BytesData}
	t.where.head = uint32(min(word(raw, l.BytesSize), headSize, uint64(len(raw))-uint64(l.BytesData)))
	return t, true
}

// ranges are the reads that fingerprint compares.
func (p *Python) ranges(c *code) []target.Part {
	parts := make([]target.Part, 0, 1+len(c.texts))
	parts = append(parts, target.Part{Addr: c.addr, Buf: make([]byte, p.layout.CodeSize)})
	for _, t := range c.texts {
		parts = append(parts, target.Part{Addr: t.addr, Buf: make([]byte, t.data+t.head)})
	}
	return parts
}

var seed = maphash.MakeSeed()

// fingerprint sums up what does not change while a code object lives. From 3.12 on each has a version number of its own
// (CPython Objects/codeobject.c, init_code). Before, or once these have run out, a new object can have got every one of
// its parts at the address of its predecessor's, so that the parts' own contents must tell; their reference counts and
// hash values do change.
func (p *Python) fingerprint(c *code, parts []target.Part) uint64 {
	l := p.layout
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range parts {
		if !part.OK {
			return 0
		}
	}
	raw := parts[0].Buf
	for _, at := range []uint32{l.ObjectType, l.CodeFilename, l.CodeName, l.CodeQualname, l.CodeLineTable} {
		if at != NoOffset {
			h.Write(raw[at : at+8])
		}
	}
	for _, at := range []uint32{l.CodeFirstLine, l.CodeFlags, l.CodeVersion} {
		if at != NoOffset {
			h.Write(raw[at : at+4])
		}
	}
	for i, part := range parts[1:] {
		h.Write(part.Buf[l.StrLength : l.StrLength+8]) // of a string; where BytesSize is, too
		h.Write(part.Buf[c.texts[i].data:])
	}
	return h.Sum64() | 1
}

// objectHead asks for the beginning of an object without going beyond its page, behind which nothing may be mapped.
func objectHead(addr uint64) target.Part {
	return target.Part{Addr: addr, Buf: make([]byte, min(512, toPageEnd(addr)))}
}

// pageSize is the smallest page of the architectures we run on.
const pageSize = 4096

func toPageEnd(addr uint64) int { return int(pageSize - addr%pageSize) }

func word(b []byte, at uint32) uint64 {
	if int(at)+8 > len(b) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[at:])
}
