package pclntab

import (
	"encoding/binary"
	"errors"
	"io"
	"sort"
)

// Table looks up functions. It is not safe for concurrent use.
type Table struct {
	Module
	at      io.ReaderAt // by the file's addresses
	tab     blocks      // from the header on
	wrapper uint8
}

// Open gives the table of an executable of Go 1.minor, which is read by the file's own addresses. It looks whether what
// the functions say of themselves can be true.
func Open(at io.ReaderAt, m Module, minor int) (*Table, error) {
	size := m.table.start + m.table.size
	t := &Table{
		Module:  m,
		at:      at,
		tab:     blocks{at: io.NewSectionReader(at, int64(m.Header), int64(size)), known: map[uint64][]byte{}},
		wrapper: wrapper(minor),
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	return t, nil
}

// Forget lets go of what was read of the file, as after many look-ups that will not be made again.
func (t *Table) Forget() { t.tab.forget() }

// Func is a function as it was linked. Others may be inlined in it.
type Func struct {
	Entry, End uint64 // of its code
	Name       uint32 // for Table.Name
	StartLine  int32  // of the line with its name
	Kind       uint8  // what it is to the runtime: internal/abi.FuncID, whose numbers differ by version

	pcsp, pcfile, pcline, unit uint32
	tree, treeIndex            uint32 // of inlined functions: noTree where there are none
}

const (
	noTree     = ^uint32(0)
	recordSize = 44 // runtime._func

	pcdataInlineTree   = 2 // internal/abi.PCDATA_InlTreeIndex
	funcdataInlineTree = 3 // internal/abi.FUNCDATA_InlTree
)

// Find gives the function whose code the address lies in.
func (t *Table) Find(pc uint64) (Func, bool) {
	if pc < t.Text || pc >= t.TextEnd {
		return Func{}, false
	}
	off := uint32(pc - t.Text)
	i := sort.Search(int(t.functions), func(i int) bool { return t.word(t.table, 8*uint64(i)) > off })
	if i == 0 {
		return Func{}, false
	}
	return t.function(uint64(i - 1))
}

// function reads number i of the table, in the order of their addresses. Functions of C++ may share their code, as that of -race
// does, and all but the last of these are empty.
func (t *Table) function(i uint64) (f Func, ok bool) {
	record := uint64(t.word(t.table, 8*i+4))
	raw := t.bytes(t.table, record, recordSize)
	if raw == nil {
		return f, false
	}
	f = Func{
		Entry:     t.Text + uint64(binary.LittleEndian.Uint32(raw)),
		End:       t.Text + uint64(t.word(t.table, 8*(i+1))),
		Name:      binary.LittleEndian.Uint32(raw[4:]),
		pcsp:      binary.LittleEndian.Uint32(raw[16:]),
		pcfile:    binary.LittleEndian.Uint32(raw[20:]),
		pcline:    binary.LittleEndian.Uint32(raw[24:]),
		unit:      binary.LittleEndian.Uint32(raw[32:]),
		StartLine: int32(binary.LittleEndian.Uint32(raw[36:])),
		Kind:      raw[40],
		tree:      noTree,
	}
	pcdata, funcdata := uint64(binary.LittleEndian.Uint32(raw[28:])), raw[43]
	if pcdata > pcdataInlineTree && funcdata > funcdataInlineTree {
		more := record + recordSize
		f.treeIndex = t.word(t.table, more+4*pcdataInlineTree)
		f.tree = t.word(t.table, more+4*(pcdata+funcdataInlineTree))
	}
	return f, f.Entry <= f.End && f.End <= t.TextEnd
}

// bytes gives what lies at an offset of a table, nil where the table ends before. It is valid until the next read.
func (t *Table) bytes(in extent, off, n uint64) []byte {
	if off > in.size || n > in.size-off {
		return nil
	}
	return t.tab.read(in.start+off, n)
}

func (t *Table) word(in extent, off uint64) uint32 {
	raw := t.bytes(in, off, 4)
	if raw == nil {
		return noTree
	}
	return binary.LittleEndian.Uint32(raw)
}

// maxText bounds names and paths, in bytes. Names of generic functions hold those of their types.
const maxText = 8192

// text gives the C string at an offset of a table, cut where it is longer than any.
func (t *Table) text(in extent, off uint32) string {
	var out []byte
	for c := (cursor{t: t, in: in, at: uint64(off)}); len(out) < maxText; {
		b, ok := c.next()
		if !ok || b == 0 {
			break
		}
		out = append(out, b)
	}
	return string(out)
}

// Name gives a function's name as the linker knows it: with the shapes of a generic one's types.
func (t *Table) Name(off uint32) string { return t.text(t.names, off) }

// samples is how many functions are looked at to tell whether the format is what we know.
const samples = 64

// check tells whether functions from the whole table are as they should be, with those that are inlined in them.
func (t *Table) check() error {
	for n := range uint64(samples) {
		i := n * t.functions / samples
		f, ok := t.function(i)
		if !ok || t.word(t.table, 8*i) != uint32(f.Entry-t.Text) {
			return errors.New("the functions are not in order")
		}
		for _, p := range t.Places(&f, f.Entry+(f.End-f.Entry)/2) {
			if !t.isName(p.Name) {
				return errors.New("a function has no name")
			}
		}
	}
	return nil
}

// isName tells whether a name begins at an offset.
func (t *Table) isName(off uint32) bool {
	if off == 0 {
		return t.Name(off) != ""
	}
	before := t.bytes(t.names, uint64(off)-1, 1)
	return before != nil && before[0] == 0 && t.Name(off) != ""
}
