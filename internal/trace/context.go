package trace

import (
	"strings"

	"apm-ebpf/internal/symbol"
)

// Context is a call path: a function, the functions below it and, where lines are told, the line at
// which each of them stands. Equal paths of one Contexts are one Context, so a stack is a pointer.
type Context struct {
	fn        *symbol.Func
	line      int32        // 0 where lines are not told
	depth     int32        // the outermost has 1
	truncated bool         // Truncated is on the path
	job       *symbol.Func // what an executor was given to do, nil: not on the path of one
	looped    bool         // an event loop's function is on the path
	unseen    bool         // so is one of a loop whose tasks switch unseen …
	trio      bool         // … or of trio, whose do until they are probed
	parent    *Context
	callee    *Context // the last one called from here that was asked for
	place     place
}

type contextKey struct {
	parent *Context
	fn     *symbol.Func
	line   int32
}

// Bounds of the paths that all processes are remembered by, some 120 bytes each. Beyond contextLimit a process that has more
// than a few forgets its own before its next request, beyond twice that amid one, which may tell a function twice then.
const (
	contextLimit = 100_000
	contextsFew  = 1000
)

// Contexts makes the contexts of one process.
type Contexts struct {
	known map[contextKey]*Context
	root  Context // whose callees are the outermost
	all   *int    // how many all processes have; nil: there is no other
}

// tooMany tells whether paths are to be forgotten: there are as many as that.
func (c *Contexts) tooMany(limit int) bool {
	n := len(c.known)
	if c.all != nil {
		n = *c.all
	}
	return n >= limit && len(c.known) > contextsFew
}

// forget begins anew. Who holds an old path keeps it alive.
func (c *Contexts) forget() {
	if c.all != nil {
		*c.all -= len(c.known)
	}
	c.known = map[contextKey]*Context{}
	c.root.callee = nil
}

// call gives the path of a function called from parent, nil for the outermost. It allocates nothing for
// a path that is known.
func (c *Contexts) call(parent *Context, fn *symbol.Func, line int32) *Context {
	caller := parent
	if caller == nil {
		caller = &c.root
	}
	if x := caller.callee; x != nil && x.fn == fn && x.line == line {
		return x
	}
	key := contextKey{parent, fn, line}
	if x := c.known[key]; x != nil {
		caller.callee = x
		return x
	}
	if c.known == nil || c.tooMany(2*contextLimit) {
		c.forget()
	}
	x := &Context{fn: fn, line: line, parent: parent, depth: 1, truncated: fn == Truncated, looped: loops(fn), unseen: loopsUnseen(fn), trio: ofTrio(fn.ShortFile)}
	if parent != nil {
		x.depth = parent.depth + 1
		x.truncated = x.truncated || parent.truncated
		x.looped = x.looped || parent.looped
		x.unseen = x.unseen || parent.unseen
		x.trio = x.trio || parent.trio
		x.job = jobBelow(parent, fn)
	}
	c.known[key], caller.callee = x, x
	if c.all != nil {
		*c.all++
	}
	return x
}

// function is that at the path's end.
func (c *Context) function() *symbol.Func {
	if c == nil {
		return nil
	}
	return c.fn
}

// outermost is the first function of the path: it stays on the stack as long as its lane runs.
func (c *Context) outermost() *Context {
	if c == nil {
		return nil
	}
	for c.parent != nil {
		c = c.parent
	}
	return c
}

// belowRuntime is the part of a path of Go up to the runtime's functions at its end.
func (c *Context) belowRuntime() *Context {
	for c != nil && strings.HasPrefix(c.fn.ShortFile, "runtime/") {
		c = c.parent
	}
	return c
}

// waitsAsLoop tells a path that ends in Go's own call of epoll_wait, under whatever name servers have it.
func (c *Context) waitsAsLoop() bool {
	const deep = 8 // functions that a call may take
	for range deep {
		if c == nil {
			break
		}
		if name := c.fn.Name; strings.EqualFold(name[strings.LastIndexByte(name, '.')+1:], "epollwait") {
			return true
		}
		c = c.parent
	}
	return false
}

// upTo is the part of the path that is so deep.
func (c *Context) upTo(depth int32) *Context {
	for c != nil && c.depth > depth {
		c = c.parent
	}
	return c
}

// coroutines is the part of a task's path that can be suspended: up to the first function that is no coroutine.
func (c *Context) coroutines() *Context {
	at := c
	for x := c; x != nil; x = x.parent {
		if !x.fn.Coroutine && x.parent != nil {
			at = x.parent
		}
	}
	return at
}

// common is the longest path that both begin with, told by functions, whatever their lines. What is
// unknown (nil) shares the outermost function.
func common(a, b *Context) *Context {
	if a == nil {
		return b.outermost()
	}
	if b == nil {
		return a.outermost()
	}
	for a.depth > b.depth {
		a = a.parent
	}
	for b.depth > a.depth {
		b = b.parent
	}
	shared := a
	for a != b { // the same Context has the same parents
		if a.fn != b.fn {
			shared = a.parent
		}
		a, b = a.parent, b.parent
	}
	return shared
}
