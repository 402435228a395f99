package symbol

import "sort"

// maxLineTable bounds a line table, in bytes. The largest modules, tens of thousands of generated lines, stay below.
const maxLineTable = 1 << 20

// LineOf gives the line that a frame of the function's code object is at; 0 when it can't be told, as when the code object
// is gone.
// instr is what Layout.FrameInstr says, as the frame holds it; CPython's own frame.f_lineno is the same line
// (PyFrame_GetLineNumber in Objects/frameobject.c).
func (p *Python) LineOf(fn *Func, addr, instr uint64) int {
	c := p.code(addr)
	if c.fn == Unknown || c.fn != fn {
		return 0
	}
	offset, ok := p.offset(c, instr)
	if !ok {
		return 0
	}
	if offset < 0 {
		return c.fn.Line
	}
	lines := c.lines
	if !c.linesRead {
		lines = p.readLines(c)
	}
	return lineNear(lines, offset, c.fn.Line)
}

// lineNear gives the line of the instruction at an offset. One that the compiler has added, and that has none, is of the line
// before it: it is at a loop's jump back that threads wait for the interpreter lock.
func lineNear(lines []span, offset int64, first int) int {
	i := sort.Search(len(lines), func(i int) bool { return int64(lines[i].start) > offset })
	if i == 0 || i == len(lines) && lines[i-1].line == 0 {
		return 0
	}
	for i > 0 && lines[i-1].line == 0 {
		i--
	}
	if i == 0 {
		return first
	}
	return int(lines[i-1].line)
}

// offset turns what a frame holds into a byte offset, which is negative before the first instruction.
func (p *Python) offset(c *code, instr uint64) (int64, bool) {
	l := p.layout
	if l.FrameIsObject {
		last := int64(int32(instr))
		if l.Minor == 10 {
			last *= 2
		}
		return last, last >= -2
	}
	if offset, ok := c.offset(instr, c.addr+uint64(l.CodeInstrs)); ok || l.CodeCopies == NoOffset {
		return offset, ok
	}
	for _, copied := range p.copies(c) {
		if offset, ok := c.offset(instr, copied); ok {
			return offset, true
		}
	}
	return 0, false
}

// offset gives the place of an instruction among those that begin at start, in bytes.
func (c *code) offset(instr, start uint64) (int64, bool) {
	offset := int64(instr - start)
	return offset, offset >= -2 && uint64(max(0, offset)) < 2*c.units
}

// maxThreadCopies bounds the copies of a code object's instructions: one for each thread that ran it.
const maxThreadCopies = 1 << 12

// copies gives where the copies of a code object's instructions begin (_PyCodeArray in CPython Include/cpython/code.h).
// Threads that run the code for the first time add to them; few threads of a few functions are asked for at all.
func (p *Python) copies(c *code) []uint64 {
	array, err := p.pointer(c.addr + uint64(p.layout.CodeCopies))
	if err != nil {
		return nil
	}
	size, err := p.pointer(array)
	if err != nil {
		return nil
	}
	raw := make([]byte, 8*min(size, maxThreadCopies))
	if p.mem.Read(raw, array+8) != nil {
		return nil
	}
	out := make([]uint64, len(raw)/8)
	for i := range out {
		out[i] = word(raw, uint32(8*i))
	}
	return out
}

// readLines reads and decodes the line table, and keeps it while there is room.
func (p *Python) readLines(c *code) []span {
	l := p.layout
	head := make([]byte, l.BytesData)
	if p.mem.Read(head, c.lineTable) != nil {
		return nil
	}
	table := make([]byte, min(word(head, l.BytesSize), maxLineTable))
	if p.mem.Read(table, c.lineTable+uint64(l.BytesData)) != nil {
		return nil
	}
	lines := lineTable(l.Minor, table, c.fn.Line)
	if p.spans+len(lines) <= maxSpans {
		c.lines, c.linesRead = lines, true
		p.spans += len(lines)
	}
	return lines
}
