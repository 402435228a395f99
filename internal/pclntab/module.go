// Package pclntab reads the tables that Go's linker leaves in every executable, stripped or not, for the runtime's own
// tracebacks: the functions, what is inlined in them, files, lines and the depth of the stack by program counter. The
// format is that of Go 1.20 and later (Go src/runtime/symtab.go, src/internal/abi/symtab.go). Files may be hostile, so
// every offset is checked and every loop bounded.
package pclntab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Magic begins the table: internal/abi.Go120PCLnTabMagic and two zeros. It has stayed the same since Go 1.20.
var Magic = []byte{0xf1, 0xff, 0xff, 0xff, 0, 0}

// Sizes in bytes of runtime.pcHeader and of what is read of runtime.moduledata.
const (
	HeaderSize = 72
	ModuleSize = 352
)

// header is runtime.pcHeader. The tables lie at offsets from it.
type header struct {
	Magic                           uint32
	_                               [2]byte
	Quantum, PointerSize            uint8
	Functions, FileCount            uint64
	_                               uint64 // textStart, which Go 1.26 leaves empty and external linkers move
	Names, Units, Files, PCs, Table uint64
}

type slice struct{ Start, Len, Cap uint64 }

// moduledata is the beginning of runtime.moduledata, the same since Go 1.20.
type moduledata struct {
	Header                                 uint64
	Names, Units, Files, PCs, Table, Funcs slice
	_                                      uint64 // findfunctab
	MinPC, MaxPC, Text, TextEnd            uint64
}

// goFunc is where gofunc lies in moduledata: Go 1.27 has three words more before it (runtime/symtab.go).
func goFunc(minor int) int {
	if minor < 27 {
		return 320
	}
	return 344
}

func (d *moduledata) move(by uint64) {
	for _, addr := range []*uint64{&d.Header, &d.Names.Start, &d.Units.Start, &d.Files.Start, &d.PCs.Start, &d.Table.Start,
		&d.Funcs.Start, &d.MinPC, &d.MaxPC, &d.Text, &d.TextEnd} {
		*addr += by
	}
}

// extent is a table in bytes from the header on.
type extent struct{ start, size uint64 }

// Module tells where an executable's tables are. Addresses are the file's own.
type Module struct {
	Header        uint64 // of the table
	Text, TextEnd uint64 // of the code that the linker made of Go

	names, units, files, pcs, table extent
	functions                       uint64
	quantum                         uint64 // size of the smallest instruction
	inline                          uint64 // address from which the trees of inlined functions are counted
}

// Bounds of what is believed. The largest programs have some 500,000 functions and tables of 300 MiB.
const (
	maxFunctions = 2 << 20
	maxTable     = 512 << 20
)

// IsHeader tells whether a table begins with those bytes.
func IsHeader(raw []byte) bool {
	_, err := parseHeader(raw)
	return err == nil
}

func parseHeader(raw []byte) (h header, err error) {
	if _, err := binary.Decode(raw, binary.LittleEndian, &h); err != nil || !bytes.HasPrefix(raw, Magic) {
		return h, errors.New("not a table of Go 1.20 or newer")
	}
	if h.PointerSize != 8 || h.Quantum != 1 && h.Quantum != 4 {
		return h, fmt.Errorf("a table for pointers of %d and instructions of %d bytes", h.PointerSize, h.Quantum)
	}
	if h.Functions == 0 || h.Functions > maxFunctions || h.Names < HeaderSize || h.Table > maxTable ||
		h.Names > h.Units || h.Units > h.Files || h.Files > h.PCs || h.PCs > h.Table {
		return h, errors.New("the offsets in the table's header are not in order")
	}
	return h, nil
}

// ParseModule reads what the runtime itself takes for true, ModuleSize bytes of the moduledata of a minor version, and
// holds it against the header of the table. Its addresses are bias more than the file's.
func ParseModule(raw, rawHeader []byte, bias uint64, minor int) (m Module, err error) {
	h, err := parseHeader(rawHeader)
	if err != nil {
		return m, err
	}
	var d moduledata
	if _, err := binary.Decode(raw, binary.LittleEndian, &d); err != nil {
		return m, fmt.Errorf("decode moduledata: %w", err)
	}
	if len(raw) < ModuleSize {
		return m, fmt.Errorf("%d bytes of moduledata are too few", len(raw))
	}
	inline := binary.LittleEndian.Uint64(raw[goFunc(minor):])
	d.move(-bias)
	m = Module{
		Header: d.Header, Text: d.Text, TextEnd: d.TextEnd,
		names:     extent{h.Names, d.Names.Len},
		units:     extent{h.Units, 4 * d.Units.Len},
		files:     extent{h.Files, d.Files.Len},
		pcs:       extent{h.PCs, d.PCs.Len},
		table:     extent{h.Table, d.Table.Len},
		functions: h.Functions,
		quantum:   uint64(h.Quantum),
		inline:    inline - bias,
	}
	for _, s := range []struct {
		slice
		offset uint64
	}{{d.Names, h.Names}, {d.Units, h.Units}, {d.Files, h.Files}, {d.PCs, h.PCs}, {d.Table, h.Table}, {d.Funcs, h.Table}} {
		if s.Start != d.Header+s.offset || s.Len > maxTable {
			return m, errors.New("moduledata does not agree with the table's header")
		}
	}
	if d.Funcs.Len != h.Functions+1 || d.Table.Len < 8*d.Funcs.Len {
		return m, fmt.Errorf("moduledata has %d functions, the table %d", d.Funcs.Len, h.Functions)
	}
	if d.Text > d.MinPC || d.MinPC >= d.MaxPC || d.MaxPC > d.TextEnd || d.TextEnd-d.Text > 1<<32 || inline == 0 {
		return m, errors.New("the extents in moduledata are not in order")
	}
	return m, nil
}
