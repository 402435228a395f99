package symbol

import (
	"bytes"
	"encoding/binary"

	"apm-ebpf/internal/target"
)

// code is what was read of a code object.
type code struct {
	fn        *Func
	addr      uint64 // of the PyCodeObject
	units     uint64 // ob_size: number of 2-byte code units, 3.11 and later
	lineTable uint64

	lines     []span
	linesRead bool
}

const (
	coCoroutine         = 0x80  // CO_COROUTINE, CPython Include/cpython/code.h
	coIterableCoroutine = 0x100 // CO_ITERABLE_COROUTINE
)

// alive tells an object from what is left of one that was freed: allocators leave its type in place, but not its
// reference count, which is 0 then or part of a pointer to the next free block.
func (p *Python) alive(object []byte) bool {
	const mostReferences = 1<<32 - 1 // of an immortal object, 3.12 and later (CPython Include/object.h)
	if p.layout.FreeThreaded {       // ob_ref_local, and ob_ref_shared above 2 bits of flags
		return int32At(object, p.layout.ObjectType-12) > 0 || int64(word(object, p.layout.ObjectType-8)) >= 1<<2
	}
	count := word(object, p.layout.ObjectType-8)
	if p.layout.Minor >= 14 { // flags are in the upper half
		count &= mostReferences
	}
	return count > 0 && count <= mostReferences
}

// load reads a code object in three calls: the object, its strings, and the object again, since what was read last need
// not belong to what was read first.
func (p *Python) load(addr uint64) *code {
	l := p.layout
	raw := make([]byte, l.CodeSize)
	if err := p.mem.Read(raw, addr); err != nil || word(raw, l.ObjectType) != p.codeType || !p.alive(raw) {
		return unknown(addr)
	}
	c := &code{addr: addr, lineTable: word(raw, l.CodeLineTable)}
	if !l.FrameIsObject {
		c.units = word(raw, l.BytesSize)
	}
	texts := []target.Part{objectHead(word(raw, l.codeName())), objectHead(word(raw, l.CodeFilename))}
	if err := p.mem.ReadParts(texts); err != nil {
		return unknown(addr)
	}
	name, ok1 := p.text(texts[0])
	file, ok2 := p.text(texts[1])
	again := make([]byte, l.CodeSize)
	if !ok1 || !ok2 || p.mem.Read(again, addr) != nil || !p.alive(again) || !l.sameCode(raw, again) {
		return unknown(addr)
	}
	c.fn = p.function(int32At(raw, l.CodeFlags), int32At(raw, l.CodeFirstLine), name.text, file.text)
	return c
}

func unknown(addr uint64) *code { return &code{fn: Unknown, addr: addr} }

// codeName is where a code object has the name to tell.
func (l *Layout) codeName() uint32 {
	if l.CodeQualname != NoOffset {
		return l.CodeQualname
	}
	return l.CodeName
}

// sameCode compares what does not change while a code object lives.
func (l *Layout) sameCode(a, b []byte) bool {
	for _, at := range []uint32{l.ObjectType, l.CodeFilename, l.CodeName, l.codeName(), l.CodeLineTable} {
		if word(a, at) != word(b, at) {
			return false
		}
	}
	return bytes.Equal(a[l.CodeFirstLine:l.CodeFirstLine+4], b[l.CodeFirstLine:l.CodeFirstLine+4])
}

// function puts together what users see. Equal functions are one.
func (p *Python) function(flags, firstLine uint32, name, file string) *Func {
	if name == initShim && file == initShim && firstLine == 0 {
		return Shim
	}
	fn := Func{
		Name:      name,
		File:      file,
		ShortFile: p.paths.Short(file),
		Line:      max(0, int(int32(firstLine))),
		App:       p.paths.IsApp(file),
		Coroutine: flags&(coCoroutine|coIterableCoroutine) != 0,
	}
	if known := p.functions[fn]; known != nil {
		return known
	}
	if len(p.functions) >= maxFunctions {
		clear(p.functions)
	}
	p.functions[fn] = &fn
	return &fn
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

func int32At(b []byte, at uint32) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
