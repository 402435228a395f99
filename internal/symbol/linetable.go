package symbol

import "math"

// span says that the instructions from start, a byte offset, up to the next span's are of a line; 0 is none.
type span struct{ start, line int32 }

// lineTable decodes a table of the version. A damaged one gives what can be read of it.
func lineTable(minor int, table []byte, first int) []span {
	var b spans
	switch {
	case minor <= 9:
		b.readLnotab(table, first)
	case minor == 10:
		b.readLinetable(table, first)
	default:
		b.readLocations(table, first)
	}
	return b.list
}

// spans builds a list of spans in ascending order.
type spans struct{ list []span }

// add begins a span. One that begins where the last does takes its place; one of the same line continues it.
func (b *spans) add(start, line int) {
	if start > math.MaxInt32 {
		return
	}
	if line < 0 || line > math.MaxInt32 {
		line = 0
	}
	if n := len(b.list); n > 0 && b.list[n-1].start == int32(start) {
		b.list = b.list[:n-1]
	}
	if n := len(b.list); n == 0 || b.list[n-1].line != int32(line) {
		b.list = append(b.list, span{int32(start), int32(line)})
	}
}

// readLnotab reads co_lnotab of 3.9 and older: pairs of an unsigned increment of the offset and a signed one of the line
// (CPython 3.9 Objects/lnotab_notes.txt).
func (b *spans) readLnotab(table []byte, line int) {
	start := 0
	b.add(start, line)
	for ; len(table) >= 2; table = table[2:] {
		start += int(table[0])
		line += int(int8(table[1]))
		b.add(start, line)
	}
}

// readLinetable reads co_linetable of 3.10: pairs of a span's length and its line's signed distance from the last one;
// -128 is no line (CPython 3.10 Objects/lnotab_notes.txt).
func (b *spans) readLinetable(table []byte, line int) {
	start := 0
	for ; len(table) >= 2; table = table[2:] {
		length, delta := int(table[0]), int8(table[1])
		here := 0
		if delta != -128 {
			line += int(delta)
			here = line
		}
		if length > 0 {
			b.add(start, here)
			start += length
		}
	}
	b.add(start, 0)
}

// Kinds of entries of the location table (CPython 3.11 Objects/locations.md).
const (
	locationOneLine0  = 10 // to 12: the line is 0 to 2 further
	locationNoColumns = 13
	locationLong      = 14
	locationNone      = 15
)

// readLocations reads co_linetable of 3.11 and later: entries that begin with a byte with bit 7 set, 4 bits of kind and
// 3 of length - 1 in code units of 2 bytes.
func (b *spans) readLocations(table []byte, line int) {
	start := 0
	for i := 0; i < len(table); {
		kind, units := table[i]>>3&15, int(table[i]&7)+1
		i++
		here := 0
		switch {
		case kind == locationNoColumns || kind == locationLong:
			line += signedVarint(table[i:])
		case kind >= locationOneLine0 && kind < locationNoColumns:
			line += int(kind - locationOneLine0)
		}
		if kind != locationNone {
			here = line
		}
		b.add(start, here)
		start += 2 * units
		for i < len(table) && table[i]&0x80 == 0 { // columns and ends
			i++
		}
	}
	b.add(start, 0)
}

// signedVarint reads 6 bits a byte, least significant first, bit 6 set where more follow; the lowest bit is the sign.
func signedVarint(b []byte) int {
	value := uint64(0)
	for i := 0; i < len(b) && i < 6; i++ {
		value |= uint64(b[i]&63) << (6 * i)
		if b[i]&64 == 0 {
			break
		}
	}
	if value&1 != 0 {
		return -int(value >> 1)
	}
	return int(value >> 1)
}
