package trace

import (
	"cmp"
	"slices"

	"apm-ebpf/internal/filter"
	"apm-ebpf/internal/symbol"
)

// call is a node of the tree: its time is its own, without its callees'.
type call struct {
	fn          *symbol.Func
	time        int64
	first, last int32 // callees, 0: none
	next        int32 // caller's next callee
	lines       int32 // at which it stood, 0: none are told
}

// place is where a path hung in a tree last: the node of its function, below another one.
type place struct {
	tree     uint64
	at, node int32
}

// lineTime is the time that a call stood at one of its lines.
type lineTime struct {
	time       int64
	line, next int32 // next of the call's, 0: none
}

// builder makes call trees. It keeps its memory from tree to tree.
type builder struct {
	tree    uint64 // counts the trees, from 1
	calls   []call
	lines   []lineTime // of all calls, from 1
	made    []filter.Frame
	result  []*filter.Frame
	trunks  []branch
	gaps    gaps
	answers *lane // that of the request
	trunk   *lane // of which all is told
}

func (b *builder) reset() {
	b.tree++
	b.calls = append(b.calls[:0], call{fn: request})
	b.lines = append(b.lines[:0], lineTime{})
}

// add adds a slice's time to the path of its stack below a node.
func (b *builder) add(s *slice, at int32, time int64) {
	node := b.node(at, s.stack)
	if leaf := s.why.leaf(); leaf != nil {
		node = b.callee(node, leaf)
	}
	b.calls[node].time += time
	for x := s.stack; x != nil; x = x.parent {
		if x.line != 0 {
			b.addLine(b.node(at, x), x.line, time)
		}
	}
}

func (b *builder) addLine(at, line int32, time int64) {
	c := &b.calls[at]
	for i := c.lines; i != 0; i = b.lines[i].next {
		if b.lines[i].line == line {
			b.lines[i].time += time
			return
		}
	}
	b.lines = append(b.lines, lineTime{time, line, c.lines})
	c.lines = int32(len(b.lines) - 1)
}

// node gives the tree's node of a path below another; that one itself for no path.
func (b *builder) node(at int32, path *Context) int32 {
	if path == nil {
		return at
	}
	if last := path.place; last.tree == b.tree && last.at == at {
		return last.node
	}
	n := b.callee(b.node(at, path.parent), path.fn)
	path.place = place{b.tree, at, n}
	return n
}

// callee gives the node of a function called from another.
func (b *builder) callee(caller int32, fn *symbol.Func) int32 {
	for i := b.calls[caller].first; i != 0; i = b.calls[i].next {
		if b.calls[i].fn == fn {
			return i
		}
	}
	at := int32(len(b.calls))
	b.calls = append(b.calls, call{fn: fn})
	if last := b.calls[caller].last; last != 0 {
		b.calls[last].next = at
	} else {
		b.calls[caller].first = at
	}
	b.calls[caller].last = at
	return at
}

// frames tells the tree, every frame after its callees, until the builder is reset.
func (b *builder) frames() []*filter.Frame {
	root := b.root()
	b.made = slices.Grow(b.made[:0], len(b.calls))[:len(b.calls)]
	b.result = b.result[:0]
	b.visit(root, nil, 0)
	return b.result
}

// visit tells a call and its callees, and gives its time. A branch's does not count in its caller's.
func (b *builder) visit(at int32, above *filter.Frame, depth int) int64 {
	c, f := &b.calls[at], &b.made[at]
	*f = filter.Frame{Function: c.fn.Name, File: c.fn.File, ShortFile: c.fn.ShortFile, Line: c.fn.Line, App: c.fn.App, Depth: depth}
	if standsForNone(c.fn) && above != nil {
		f.File, f.ShortFile, f.Line, f.App = above.File, above.ShortFile, above.Line, above.App
	}
	f.Time = c.time
	for i := c.first; i != 0; i = b.calls[i].next {
		if time := b.visit(i, f, depth+1); !isBranch(b.calls[i].fn) {
			f.Time += time
		}
	}
	f.Lines = b.linesOf(at)
	b.result = append(b.result, f)
	return f.Time
}

// root is the outermost function where all paths share one, else the frame [request]. What belongs to no
// path moves below it.
func (b *builder) root() int32 {
	outermost := int32(0)
	for i := b.calls[0].first; i != 0; i = b.calls[i].next {
		if standsForNone(b.calls[i].fn) {
			continue
		}
		if outermost != 0 {
			return 0
		}
		outermost = i
	}
	if outermost == 0 {
		return 0
	}
	b.calls[outermost].time += b.calls[0].time
	for i := b.calls[0].first; i != 0; i = b.calls[i].next {
		if i != outermost {
			b.move(i, outermost)
		}
	}
	return outermost
}

// move adds a call, and what it called, to what another called. Where it was it stays.
func (b *builder) move(from, to int32) {
	at := b.callee(to, b.calls[from].fn)
	b.calls[at].time += b.calls[from].time
	for i := b.calls[from].lines; i != 0; i = b.lines[i].next {
		b.addLine(at, b.lines[i].line, b.lines[i].time)
	}
	for i := b.calls[from].first; i != 0; i = b.calls[i].next {
		b.move(i, at)
	}
}

func (b *builder) linesOf(at int32) (lines []filter.LineTime) {
	for i := b.calls[at].lines; i != 0; i = b.lines[i].next {
		lines = append(lines, filter.LineTime{Line: int(b.lines[i].line), Time: b.lines[i].time})
	}
	slices.SortFunc(lines, func(x, y filter.LineTime) int { return cmp.Compare(x.Line, y.Line) })
	return lines
}
