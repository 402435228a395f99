package trace

import (
	"cmp"
	"slices"

	"apm-ebpf/internal/filter"
	"apm-ebpf/internal/symbol"
)

// Profile is what a sampled request's own lane did in its window.
type Profile struct {
	CPU       int64 // ns on a CPU
	Stacks    int   // that the tree was built from
	Waits     Waits
	Truncated bool            // frames are missing in the middle of a deep stack
	Frames    []*filter.Frame // every frame after its callees, the root last
}

// call is a node of the tree: its time is first its own, then with its callees.
type call struct {
	fn          *symbol.Func
	time        int64
	first, last int32 // callees, 0: none
	next        int32 // caller's next callee
}

type lineKey struct {
	call int32
	line int32
}

// builder holds what is reused from tree to tree.
type builder struct {
	calls []call
	at    map[*Context]int32
	lines map[lineKey]int64
}

// Profile builds the tree of a sampled request. Only for use while it is being handed out.
func (t *Tracer) Profile(r *Request) (p Profile) {
	if r.thread == nil {
		return p
	}
	b := &t.builder
	b.reset()
	p.fill(b, r)
	p.Frames = b.frames()
	return p
}

// fill lays the lane's slices end to end over the window. What lies before the lane was free is a wait
// for it, and a gap is time in which nothing was seen of it.
func (p *Profile) fill(b *builder, r *Request) {
	from := max(r.Start, r.PrevEnd, min(r.thread.answered, r.End))
	if from = min(from, r.End); from > r.Start {
		p.add(b, nil, RunQueue, int64(from-r.Start), 0)
	}
	told := int64(0)
	for i := range r.thread.lane.slices {
		s := &r.thread.lane.slices[i]
		if time := int64(s.within(from, r.End)); time > 0 {
			p.add(b, s.stack, s.why, time, s.stacks)
			told += time
		}
	}
	p.add(b, nil, NotSampled, int64(r.End-from)-told, 0)
}

func (p *Profile) add(b *builder, stack *Context, why Reason, time int64, stacks int32) {
	if time <= 0 {
		return
	}
	p.Stacks += int(stacks)
	if why == OnCPU || why == Unknown {
		p.CPU += time
	}
	p.Waits[why] += time
	p.Truncated = p.Truncated || stack != nil && stack.truncated
	node := b.node(stack)
	if leaf := leaves[why]; leaf != nil {
		node = b.callee(node, leaf)
	}
	b.calls[node].time += time
	for x := stack; x != nil; x = x.parent {
		if x.Line != 0 {
			b.lines[lineKey{b.node(x), x.Line}] += time
		}
	}
}

func (b *builder) reset() {
	if b.at == nil {
		b.at, b.lines = map[*Context]int32{}, map[lineKey]int64{}
	}
	clear(b.at)
	clear(b.lines)
	b.calls = append(b.calls[:0], call{fn: request})
}

// node gives the tree's node of a path; the root's for none.
func (b *builder) node(x *Context) int32 {
	if x == nil {
		return 0
	}
	if at, ok := b.at[x]; ok {
		return at
	}
	at := b.callee(b.node(x.parent), x.Func)
	b.at[x] = at
	return at
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

// frames tells the tree, every frame after its callees.
func (b *builder) frames() []*filter.Frame {
	root := b.root()
	made := make([]filter.Frame, len(b.calls))
	frames := make([]*filter.Frame, 0, len(b.calls))
	var visit func(at int32, above *filter.Frame, depth int) int64
	visit = func(at int32, above *filter.Frame, depth int) int64 {
		c, f := &b.calls[at], &made[at]
		*f = filter.Frame{Function: c.fn.Name, File: c.fn.File, ShortFile: c.fn.ShortFile, Line: c.fn.Line, App: c.fn.App, Depth: depth}
		if standsForNone(c.fn) && above != nil {
			f.File, f.ShortFile, f.Line, f.App = above.File, above.ShortFile, above.Line, above.App
		}
		f.Time = c.time
		for i := c.first; i != 0; i = b.calls[i].next {
			f.Time += visit(i, f, depth+1)
		}
		f.Lines = b.linesOf(at)
		frames = append(frames, f)
		return f.Time
	}
	visit(root, nil, 0)
	return frames
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
			b.calls[b.callee(outermost, b.calls[i].fn)].time += b.calls[i].time
		}
	}
	return outermost
}

func (b *builder) linesOf(at int32) (lines []filter.LineTime) {
	if len(b.lines) == 0 {
		return nil
	}
	for key, time := range b.lines {
		if key.call == at {
			lines = append(lines, filter.LineTime{Line: int(key.line), Time: time})
		}
	}
	slices.SortFunc(lines, func(x, y filter.LineTime) int { return cmp.Compare(x.Line, y.Line) })
	return lines
}
