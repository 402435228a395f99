package pclntab

// maxValues bounds a table. The longest functions, made of data, have some 100,000 values.
const maxValues = 1 << 20

// value gives what a table says for an address, -1 where it says nothing. A table is a run of pairs: by how much the value
// changes, zigzag, and for how much code the new one holds; a change of 0 ends it (runtime.pcvalue).
func (t *Table) value(off uint32, f *Func, pc uint64) int32 {
	if off == 0 {
		return -1
	}
	c := cursor{t: t, in: t.pcs, at: uint64(off)}
	value, from := int32(-1), f.Entry
	for range maxValues {
		change, ok := c.varint()
		if !ok || change == 0 && from > f.Entry {
			return -1
		}
		length, ok := c.varint()
		if !ok || length == 0 || from >= f.End {
			return -1
		}
		value += int32(change>>1) ^ -int32(change&1)
		from += uint64(length) * t.quantum
		if pc < from {
			return value
		}
	}
	return -1
}

// cursor reads a table byte by byte.
type cursor struct {
	t    *Table
	in   extent
	at   uint64
	rest []byte // of the block that at lies in
}

func (c *cursor) next() (byte, bool) {
	if len(c.rest) == 0 {
		if c.at >= c.in.size {
			return 0, false
		}
		if c.rest = c.t.tab.rest(c.in.start + c.at); len(c.rest) == 0 {
			return 0, false
		}
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	c.at++
	return b, true
}

// varint reads 7 bits a byte, the lowest first.
func (c *cursor) varint() (value uint32, ok bool) {
	for shift := 0; shift < 35; shift += 7 {
		b, ok := c.next()
		if !ok {
			return 0, false
		}
		value |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return value, true
		}
	}
	return 0, false
}
