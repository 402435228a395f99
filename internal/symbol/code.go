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
	mark uint16

	versioned bool   // it has a co_version
	units     uint64 // ob_size: number of 2-byte code units, 3.11 and later
	lineTable uint64
	texts     [2]textRange // of its name and file

	lines     []span
	linesRead bool
}

// textRange is where the beginning of a string lies: its header, data bytes long, and head bytes of its text.
type textRange struct {
	addr       uint64
	data, head uint32
}

// headSize is how much of a string's text the fingerprint covers.
const headSize = 64

const (
	coCoroutine         = 0x80  // CO_COROUTINE, CPython Include/cpython/code.h
	coIterableCoroutine = 0x100 // CO_ITERABLE_COROUTINE
)

// alive tells an object from what is left of one that was freed: allocators leave its type in place, but not its
// reference count, which is 0 then or part of a pointer to the next free block.
func alive(object []byte) bool {
	const mostReferences = 1<<32 - 1 // of an immortal object, 3.12 and later (CPython Include/object.h)
	count := word(object, 0)
	return count > 0 && count <= mostReferences
}

// load reads a code object in three calls: the object, its strings, and both again, since what was read last need not
// belong to what was read first.
func (p *Python) load(addr uint64) *code {
	l := p.layout
	raw := make([]byte, l.CodeSize)
	if err := p.mem.Read(raw, addr); err != nil || word(raw, l.ObjectType) != p.codeType || !alive(raw) {
		return unknown(addr)
	}
	c := &code{used: true, addr: addr, lineTable: word(raw, l.CodeLineTable)}
	c.mark = markOf(word(raw, l.CodeLineTable-8), c.lineTable)
	if !l.FrameIsObject {
		c.units = word(raw, l.BytesSize)
	}
	c.versioned = l.CodeVersion != NoOffset && binary.LittleEndian.Uint32(raw[l.CodeVersion:]) != 0
	nameAt := l.CodeName
	if l.CodeQualname != NoOffset {
		nameAt = l.CodeQualname
	}
	texts := []target.Part{objectHead(word(raw, nameAt)), objectHead(word(raw, l.CodeFilename))}
	if err := p.mem.ReadParts(texts); err != nil {
		return unknown(addr)
	}
	name, ok1 := p.text(texts[0])
	file, ok2 := p.text(texts[1])
	if !ok1 || !ok2 {
		return unknown(addr)
	}
	c.fn = p.function(raw, name.text, file.text)
	c.texts = [2]textRange{name.where, file.where}
	c.sum = p.fingerprint(c, [3]target.Part{{Buf: raw, OK: true}, name.head(), file.head()})
	again := p.ranges(c)
	if err := p.mem.ReadParts(again[:]); err != nil || p.fingerprint(c, again) != c.sum || !alive(again[0].Buf) {
		return unknown(addr)
	}
	return c
}

func unknown(addr uint64) *code { return &code{fn: Unknown, used: true, addr: addr} }

// function puts together what users see.
func (p *Python) function(raw []byte, name, file string) *Func {
	l := p.layout
	flags := binary.LittleEndian.Uint32(raw[l.CodeFlags:])
	return &Func{
		Name:      name,
		File:      file,
		ShortFile: p.paths.Short(file),
		Line:      max(0, int(int32(binary.LittleEndian.Uint32(raw[l.CodeFirstLine:])))),
		App:       p.paths.IsApp(file),
		Coroutine: flags&(coCoroutine|coIterableCoroutine) != 0,
	}
}

// ranges are the reads that fingerprint compares: the object and, where it has no version, its name and file.
func (p *Python) ranges(c *code) (parts [3]target.Part) {
	parts[0] = target.Part{Addr: c.addr, Buf: make([]byte, p.layout.CodeSize)}
	if !c.versioned {
		for i, t := range c.texts {
			parts[1+i] = target.Part{Addr: t.addr, Buf: make([]byte, t.data+t.head)}
		}
	}
	return parts
}

var seed = maphash.MakeSeed()

// fingerprint sums up what does not change while a code object lives: its fields up to the line table (but the counter
// after co_flags in 3.11, co_warmup). From 3.12 on each has a version number of its own (CPython Objects/codeobject.c,
// init_code). Before, or once these have run out, a new object can have got every one of its parts at the address of its
// predecessor's, so that its strings' own text must tell; their reference counts and hash values do change.
func (p *Python) fingerprint(c *code, parts [3]target.Part) uint64 {
	l := p.layout
	raw := parts[0].Buf
	if !parts[0].OK {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(seed)
	h.Write(raw[l.ObjectType : l.CodeFlags+4])
	h.Write(raw[l.CodeFlags+8 : l.CodeLineTable+8])
	h.Write(raw[l.CodeFirstLine : l.CodeFirstLine+4])
	if c.versioned {
		h.Write(raw[l.CodeVersion : l.CodeVersion+4])
		return h.Sum64() | 1
	}
	for i, part := range parts[1:] {
		if !part.OK {
			return 0
		}
		h.Write(part.Buf[l.StrLength : l.StrLength+8])
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
