package trace

import (
	"slices"
	"strings"

	"apm-ebpf/internal/symbol"
)

// eventLoops begin the files of what drives the coroutines of tasks, relative to the module search path.
var eventLoops = []string{"asyncio/", "uvloop/", "trio/", "curio/", "twisted/"}

// eventsFile is where asyncio calls what is ready: tasks, and callbacks.
const eventsFile = "/asyncio/events.py"

func loops(fn *symbol.Func) bool {
	return slices.ContainsFunc(eventLoops, func(loop string) bool { return strings.HasPrefix(fn.ShortFile, loop) })
}

// loopsUnseen tells whether a function drives tasks of which nothing tells when they switch: curio's, and those that
// asyncio has where its tasks are not the ones written in C, as with nest_asyncio.
func loopsUnseen(fn *symbol.Func) bool {
	return strings.HasPrefix(fn.ShortFile, "curio/") || fn.ShortFile == "asyncio/tasks.py" &&
		(strings.HasSuffix(fn.Name, "_step") || strings.HasSuffix(fn.Name, "__step_run_and_handle_result"))
}

// loopOver tells that the thread has left the event loop that it ran, as its stack shows: a handler may run one and go on
// when that has ended (asyncio.run). Of a loop written in C the stack shows what called it.
func (t *thread) loopOver(stack *Context) bool {
	switch {
	case stack == nil || stack.looped || stack.truncated || t.loop == nil:
		return false
	case t.loop.looped:
		return true
	}
	shared := common(stack, t.loop)
	return shared == nil || shared.depth < t.loop.depth
}

// runs tells that a stack is of a callback of a loop written in C, below which tasks were seen to run: it may be one of
// asyncio's, but the loop is what calls it.
func (c *Context) runs(stack *Context) bool {
	return c != nil && !c.looped && common(stack, c) == c
}

// endLoop takes that it did. The task that ran last has ended it, and itself.
func (t *thread) endLoop() {
	if t.step != nil {
		t.step.finish()
	}
	t.tasks, t.loop, t.step = false, nil, nil
}

// add adds a slice to the lane that runs. Below a task's stack lies the thread's own, of who runs the loop; a task of which
// nothing tells who made it, as before asyncio was found, is a part of that. So it is with a greenlet that a task runs.
func (t *thread) add(s slice) {
	l := t.lane
	l.add(s)
	if !l.kind.onLoop() && (l.kind != greenletLane || t.root == 0) {
		return
	}
	below := t.driver()
	if l.kind == taskLane && l.parent == nil && l.stepped == 0 {
		below = t.process.contexts.join(below, s.stack)
	} else {
		s.stacks = 0
	}
	s.from, s.stack = max(s.from, t.home.told()), below
	t.home.add(s)
}

// driver is what lies on the thread's stack below the task that runs; as far as is known, where the thread was seen last.
func (t *thread) driver() *Context {
	if t.lane.below != nil {
		return t.lane.below
	}
	stack := t.loop
	for stack != nil && stack.parent != nil && stack.parent.looped {
		stack = stack.parent
	}
	return stack
}
