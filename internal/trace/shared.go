package trace

import "strings"

const (
	asyncQueueFile  = "/asyncio/queues.py"
	geventPoolFile  = "/gevent/threadpool.py"
	geventQueueFile = "/gevent/_threading.py"
)

// takesItem tells the chain of a task that goes on with what an asyncio.Queue gives it: one that the application has made
// to work so. Servers and frameworks pass on bodies by such queues too.
func takesItem(chain []Frame) bool {
	n := len(chain)
	return n > 1 && ofFile(chain[n-1].Func, asyncQueueFile, "get") && chain[n-2].Func.App && chain[0].Func.App
}

// shares tells that a lane which a request started may work for others too: several requests were open, it works for
// whoever gives it work, and goes on when the request ends. The lane that answers is the request's own, and so is what it
// came from.
func (p *process) shares(l, answers *lane) bool {
	if l.ended || !p.wasCrowded(l.born) {
		return false
	}
	for own := answers; own != nil; own = own.parent {
		if own == l {
			return false
		}
	}
	return l.fetches || l.started.ofGeventPool() || l.kind == taskLane && p.fetches(l)
}

// fetches tells a task of a function that others were seen to take items in.
func (p *process) fetches(l *lane) bool {
	if len(p.fetchers) == 0 || l.stack == nil {
		return false
	}
	_, found := p.fetchers[*l.stack.outermost().function()]
	return found
}

// ofGeventPool tells a stack in gevent's thread pool: of one that gives it work or has it start a thread, or outermost of
// such a thread. The pool's queue is its own, and its threads go from item to item without a wait.
func (c *Context) ofGeventPool() bool {
	return c != nil && (strings.HasSuffix(c.fn.File, geventPoolFile) || strings.HasSuffix(c.fn.File, geventQueueFile))
}
