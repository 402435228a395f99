package trace

import "apm-ebpf/internal/symbol"

// Frame is one call of a stack.
type Frame struct {
	Func  *symbol.Func
	Line  int32  // current line, 0 where lines are not told
	Task  uint64 // the coroutine object, where this is a coroutine's frame; it names an asyncio task
	Instr uint64 // current instruction, 0 where not told
}

// Stack is what a thread was seen to do.
type Stack struct {
	Frames  []Frame // outermost first; may be reused after the call
	Root    uint64  // address of the outermost frame: it names a greenlet
	Work    uint64  // contextvars.Context in force, 0 where not read
	Item    uint64  // job of an executor that runs, 0: none
	Awaits  uint64  // coroutine that the thread waits for and that an event loop's thread runs, 0: none
	Future  uint64  // concurrent.futures.Future that the thread waits for, 0: none
	Broken  bool    // it could not be read
	Foreign bool    // the thread is none of Python's now
	InCall  bool    // the thread is in a system call
	Mutex   bool    // it waits for a lock of C code's, as nothing of Python's does
}

// join gives the path of another's functions below one.
func (c *Contexts) join(below, path *Context) *Context {
	if path == nil {
		return below
	}
	return c.call(c.join(below, path.parent), path.fn, path.line)
}

// below gives the path of frames below one, nil for the outermost.
func (c *Contexts) below(above *Context, frames []Frame) *Context {
	for i := range frames {
		above = c.call(above, frames[i].Func, frames[i].Line)
	}
	return above
}

// path gives the frames as a Context.
func (c *Contexts) path(frames []Frame) *Context { return c.below(nil, frames) }
