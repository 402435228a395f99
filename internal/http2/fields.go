package http2

import (
	"bytes"
	"errors"

	"golang.org/x/net/http2/hpack"
)

const (
	// firstTable is the size of a dynamic table until its encoder changes it (RFC 9113, 6.5.2). No SETTINGS need to
	// be followed: an encoder tells every change of the size in its next block (RFC 7541, 4.2).
	firstTable = 4 << 10

	maxTable  = 64 << 10 // largest that is followed
	maxString = 64 << 10 // longest name or value that is decoded

	entryOverhead = 32 // of an entry's size (RFC 7541, 4.1)
)

// unknown is a field that stands for an entry of the dynamic table that was not seen. No real one has an empty name.
var unknown = []byte{0x40, 0, 0} // a literal with incremental indexing, an empty name, an empty value

// decoder decodes the field blocks of one direction.
//
// Where blocks passed unseen the dynamic table is not known. What is added later is at the same index all the same,
// so the table is then filled with as many unknown fields as it may have entries: an index names the right field or
// an unknown one, never a wrong one.
type decoder struct {
	hpack *hpack.Decoder
	field func(hpack.HeaderField) // takes the fields that are known

	stale   bool   // entries of the table were not seen
	size    uint32 // of a stale table
	broken  bool   // the rest of this block cannot be decoded
	partial bool   // not every field of this block was known
}

// begin prepares for a block. Unless it is wanted, it is decoded for the sake of the table alone.
func (d *decoder) begin(wanted bool) {
	if d.hpack == nil {
		d.hpack = hpack.NewDecoder(firstTable, d.emit)
		d.hpack.SetMaxStringLength(maxString)
		d.hpack.SetAllowedMaxDynamicTableSize(maxTable)
		if d.stale {
			d.fill()
		}
	}
	d.broken, d.partial = false, false
	d.hpack.SetEmitEnabled(wanted)
}

func (d *decoder) fill() {
	d.hpack.SetEmitEnabled(false)
	d.hpack.SetMaxDynamicTableSize(d.size)
	if _, err := d.hpack.Write(bytes.Repeat(unknown, int(d.size/entryOverhead))); err != nil {
		panic(err) // the block is valid
	}
}

// write takes a part of the block.
func (d *decoder) write(p []byte) {
	if d.broken {
		return
	}
	if _, err := d.hpack.Write(p); err != nil {
		d.cut()
		var wrong hpack.DecodingError
		if d.stale && errors.As(err, &wrong) && errors.As(wrong.Err, new(hpack.InvalidIndexError)) {
			d.size = maxTable
		}
	}
}

// cut takes that the rest of the block is not seen.
func (d *decoder) cut() { d.broken, d.partial = true, true }

// end ends the block, and tells whether every field of it was known.
func (d *decoder) end() (whole bool) {
	if d.broken || d.hpack.Close() != nil {
		d.lose()
		return false
	}
	return !d.partial
}

// lose takes that blocks pass unseen.
func (d *decoder) lose() {
	d.hpack, d.stale, d.size = nil, true, max(d.size, firstTable)
}

func (d *decoder) emit(f hpack.HeaderField) {
	if f.Name == "" {
		d.partial = true
		return
	}
	d.field(f)
}
