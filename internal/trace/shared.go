package trace

import "slices"

const (
	asyncQueueFile     = "/asyncio/queues.py"
	geventLockFile     = "/gevent/thread.py"
	geventResolverFile = "/gevent/resolver/thread.py"
	resolverDepth      = 12 // functions from the resolver to where gevent wakes or starts a thread
)

// poolFiles are those of gevent's and trio's pools of threads.
var poolFiles = []string{"/gevent/threadpool.py", "/gevent/_threading.py", trioPoolFile}

// takesItem tells the chain of a task that goes on with what an asyncio.Queue or a memory channel gives it: one that the
// application has made to work so. Servers and frameworks pass on bodies by such queues too.
func takesItem(chain []Frame) bool {
	n := len(chain)
	if n < 2 || !chain[0].Func.App {
		return false
	}
	return ofFile(chain[n-1].Func, asyncQueueFile, "get") && chain[n-2].Func.App || receivesItem(chain)
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
	return l.fetches || l.started.ofPool() || l.kind == greenletLane && l.started.startsWorker() || l.kind == taskLane && p.fetches(l)
}

// fetches tells a task of a function that others were seen to take items in.
func (p *process) fetches(l *lane) bool {
	if len(p.fetchers) == 0 || l.stack == nil {
		return false
	}
	_, found := p.fetchers[*l.stack.outermost().function()]
	return found
}

// waitsForGiver tells the stack of a greenlet whose own function, the first of the application's, waits for others to give it
// something: by a queue or a lock of Python's, or by what gevent has compiled, which has no frames. Where it sleeps or waits
// for a peer gevent's frames show.
func (c *Context) waitsForGiver() bool {
	for c = c.belowQueue(); c != nil && c.fn.InFile(geventLockFile); {
		c = c.parent.belowQueue()
	}
	if c == nil || !c.fn.App {
		return false
	}
	for c = c.parent; c != nil; c = c.parent {
		if c.fn.App {
			return false
		}
	}
	return true
}

// ofPool tells a stack in a pool of threads whose queue is its own, and whose threads go from item to item without a wait:
// of one that gives it work or has it start a thread, or outermost of such a thread.
func (c *Context) ofPool() bool {
	c = c.belowQueue()
	return c != nil && slices.ContainsFunc(poolFiles, func(file string) bool { return c.fn.InFile(file) })
}

// looksUpName tells the stack of a greenlet for which gevent's resolver has a thread look a name up. The thread runs no
// function but the C library's, for which the greenlet waits, so that all there is to tell is its wait.
func (c *Context) looksUpName() bool {
	for range resolverDepth {
		if c == nil {
			break
		}
		if c.fn.InFile(geventResolverFile) {
			return true
		}
		c = c.parent
	}
	return false
}
