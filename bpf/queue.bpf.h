/*
 * Work that goes from one Python thread to another by a queue: uprobes where an object is put into one and
 * taken from it (in _queue, and in _collections for the queues that Python keeps in deques). 5.10.
 */
#ifndef APM_QUEUE_H
#define APM_QUEUE_H

#include "lanes.bpf.h"

/* _queue.SimpleQueue.put(self, args, nargs, kwnames) and put_nowait, by which executors hand work to their
 * threads. */
SEC("uprobe")
int queue_put(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_JOBS);

	if (t)
		send_lane_event(EVENT_JOB, t, read_user(UPROBE_ARG1(ctx)));
	return 0;
}

/* _queue.SimpleQueue.get(...) and get_nowait() have returned the object, or NULL. */
SEC("uprobe")
int queue_got(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_JOBS);
	u64 object = UPROBE_RETURN(ctx);

	if (!t || !object)
		return 0;
	struct walk *w = begin_lane_event(EVENT_TAKE, t, false);

	if (!w)
		return 0;
	w->event.object = object;
	if (!t->runner || py_leaf(w, t, SCRATCH_UPROBE) != t->worker)
		send_stack(w, t, SCRATCH_UPROBE);
	release_uprobe();
	return 0;
}

/* How often a stack is taken to find queue.Queue's code objects. Deques serve others too, event loops above
 * all. */
#define SOUGHT_MAX 2000

/* Is it code of queue.py's that fills a deque, or empties one for threads? */
static __always_inline bool uses_queue(struct target *t, u32 kind, u64 code)
{
	return code && (kind == EVENT_TAKE ? code == t->get : code == t->put || code == t->simple);
}

/* Is there still such code to be found? */
static __always_inline bool seeks_queue(struct target *t, u32 kind)
{
	if (t->sought >= SOUGHT_MAX)
		return false;
	return kind == EVENT_TAKE ? !t->get : !t->put || (t->lanes & LANES_GREENLETS && !t->simple);
}

/* Sends an event if it is queue.py that works with its deque now. */
static __always_inline void send_queue_event(u32 kind, struct target *t, u64 object, u64 deque)
{
	struct walk *w = begin_lane_event(kind, t, false);

	if (!w)
		return;
	u64 caller = py_leaf(w, t, SCRATCH_UPROBE);

	w->event.object = object;
	w->event.args[0] = deque;
	if (uses_queue(t, kind, caller)) {
		send_stack(w, t, SCRATCH_UPROBE);
	} else if (seeks_queue(t, kind)) { /* its name may tell */
		t->sought++;
		py_walk(w, t, SCRATCH_UPROBE);
		if (uses_queue(t, kind, caller))
			send_frames(w, t);
	}
	release_uprobe();
}

/* The agent detaches what costs more than it tells. */
static __always_inline struct target *deque_target(void)
{
	struct target *t = find_target(bpf_get_current_pid_tgid() >> 32);

	if (!t)
		return NULL;
	__sync_fetch_and_add(&t->deques, 1);
	return lanes_target(LANES_JOBS);
}

/* collections.deque.append(self, item) */
SEC("uprobe")
int deque_append(struct pt_regs *ctx)
{
	struct target *t = deque_target();

	if (t)
		send_queue_event(EVENT_JOB, t, UPROBE_ARG1(ctx), UPROBE_ARG0(ctx));
	return 0;
}

#define DEQUE_LEFT 16 /* dequeobject.leftblock, from ob_type on (CPython Modules/_collectionsmodule.c) */
#define DEQUE_LEFT_INDEX 32 /* .leftindex */
#define DEQUE_BLOCK_ITEMS 8 /* block.data */

/* collections.deque.popleft(self), of any thread but those of event loops. */
SEC("uprobe")
int deque_popleft(struct pt_regs *ctx)
{
	struct target *t = deque_target();
	u64 id = bpf_get_current_pid_tgid(), deque = UPROBE_ARG0(ctx);

	if (!t || bpf_map_lookup_elem(&py_steps, &id) || (s64)own_field(t, deque) < 1)
		return 0;
	u64 block = read_user(deque + t->py.object_type + DEQUE_LEFT);
	u64 index = read_user(deque + t->py.object_type + DEQUE_LEFT_INDEX);

	send_queue_event(EVENT_TAKE, t, read_user(block + DEQUE_BLOCK_ITEMS + 8 * index), deque);
	return 0;
}

#endif
