/*
 * Lanes inside a Python thread: tasks and greenlets switch without a system call. Uprobes where a task is
 * created and where its step begins (in _asyncio; for trio, where a Context is copied and where one runs
 * something), and where a greenlet is created and leaves (in greenlet); internal/target finds them,
 * internal/trace reads what they tell. While no sampled request is open a hit costs its trap and one load.
 * 5.10.
 */
#ifndef APM_LANES_H
#define APM_LANES_H

#include "stack.bpf.h"

#define OBJECT_HEAD 192 /* bytes of a coroutine up to its frame's stack top */
/* Links of a suspended chain: of an asynchronous generator's two one is a frame. */
#define CHAIN_MAX (2 * FRAMES_MAX)
#define CHAIN_EVERY_NS 500000 /* a task that goes on more often than this is not worth a chain each time */
#define GREENLET_IMPL 24      /* PyGreenlet.pimpl, from ob_type on (greenlet.h, 2.0 and later) */
#define METHOD_SELF 16	      /* PyCFunctionObject.m_self, from ob_type on (Include/cpython/methodobject.h) */
#define BYTES_DATA 32
#define OPCODE_YIELD_FROM 72

/* The object of a method that returns a struct: on x86_64 the place for that is passed first. */
#if defined(__TARGET_ARCH_x86)
#define SWITCHED_TO(ctx) UPROBE_ARG1(ctx)
#else
#define SWITCHED_TO(ctx) UPROBE_ARG0(ctx)
#endif

struct task_step {
	u64 coroutine;
	u64 code; /* whose: once it has finished another may get its address */
};

/* Thread -> the task whose step began last. LRU, since threads end unseen here. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64);
	__type(value, struct task_step);
} py_steps SEC(".maps");

#define YOUNG_MAX 4

/* Tasks that a thread has made and that may have begun at once, on its stack. */
struct young_tasks {
	u64 coroutines[YOUNG_MAX]; /* 0: none */
	u64 codes[YOUNG_MAX];	   /* whose, as above */
	u64 made;
};

/* Thread -> the tasks that it made last. LRU, as above. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64);
	__type(value, struct young_tasks);
} py_young SEC(".maps");

struct coroutine_key {
	u64 coroutine;
	u32 pid;
	u32 pad;
};

/* Coroutine -> when its chain was walked last. LRU, since they are freed unseen here. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct coroutine_key);
	__type(value, u64);
} py_chains SEC(".maps");

/* The target, if a sampled request of it is open; notes that it has such lanes either way. */
static __always_inline struct target *lanes_target(u32 kind)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct target *t = find_target(pid);

	if (!t || t->runtime != RUNTIME_PYTHON)
		return NULL;
	if (!(t->lanes & kind))
		t->lanes |= kind;
	return gate_open(pid) ? t : NULL;
}

#define HEAD_FIELD(head, offset) (*(u64 *)((head) + ((offset)&0xff)))

static __always_inline void add_link(struct walk *w, struct target *t, u64 object, u64 code, u64 instr,
				     u32 slot)
{
	u64 marked = seen_code(t, &w->event.event, code & CODE_ADDRESS, slot).marked;
	struct frame *link = next_frame(w);

	if (!link)
		return;
	link->address = object;
	link->code = marked;
	link->instr = (instr & 0xffffffffffffffULL) | (u64)FRAME_OWNED_BY_GENERATOR << 56;
}

/* The object that a suspended frame object (up to 3.10) awaits, 0: none. */
static __always_inline u64 awaited_by_object(struct target *t, u64 frame, u64 code, s32 lasti)
{
	u64 instrs = read_user(code + t->py.code_instrs) + BYTES_DATA, top;
	u32 depth = 0;
	u8 opcode = 0;

	if (lasti < 0)
		return 0;
	bool units = t->py.frame_stack_depth != NO_OFFSET; /* 3.10 counts units of 2 bytes */

	bpf_probe_read_user(&opcode, 1, (void *)(instrs + (units ? 2 * ((u64)lasti + 1) : (u64)lasti + 2)));
	if (opcode != OPCODE_YIELD_FROM)
		return 0;
	if (!units)
		return read_user(read_user(frame + t->py.frame_stack_top) - 8);
	bpf_probe_read_user(&depth, sizeof(depth), (void *)(frame + t->py.frame_stack_depth));
	top = read_user(frame + t->py.frame_value_stack) + 8 * ((u64)depth - 1);
	return read_user(top);
}

/* Frame state as 3.13 numbers it: below -1 it awaits nothing, above 0 it has finished. */
static __always_inline s8 usual_state(struct target *t, s8 state)
{
	if (t->py.await_told_by != AWAIT_BY_POINTER_RENUMBERED)
		return state;
	switch (state) {
	case 0: /* FRAME_CREATED */
		return -3;
	case 1: /* FRAME_SUSPENDED */
		return -2;
	case 2: /* FRAME_SUSPENDED_YIELD_FROM */
	case 3: /* FRAME_SUSPENDED_YIELD_FROM_LOCKED */
		return -1;
	case 4: /* FRAME_EXECUTING */
		return 0;
	}
	return 4;
}

/* The object that a suspended frame (3.11 and later) awaits, 0: none. */
static __always_inline u64 awaited_by_frame(struct target *t, u8 *head, u64 frame, u64 type, u64 instr)
{
	s8 state = usual_state(t, head[t->py.gen_state & 0xff]);
	u32 at = t->py.gen_frame + t->py.frame_stack_top;
	s32 top = *(s32 *)(head + (at & 0xfc));

	if (state != -1)
		return 0;
	if (t->py.await_told_by == AWAIT_BY_POINTER)
		return read_user(HEAD_FIELD(head, at) - 8) & ~REFERENCE_TAGS;
	if (t->py.await_told_by == AWAIT_BY_POINTER_RENUMBERED) /* an index lies on top */
		return read_user(HEAD_FIELD(head, at) - 16) & ~REFERENCE_TAGS;
	if (top <= 0 || top >= 4096)
		return 0;
	if (t->py.await_told_by == AWAIT_BY_RESUME && type == t->py_types.generator) {
		u8 argument = 0; /* 2: yield from, 3: await */

		bpf_probe_read_user(&argument, 1, (void *)(instr + 3));
		if (argument < 2 || argument > 7)
			return 0;
	}
	return read_user(frame + t->py.frame_locals + 8 * ((u64)top - 1));
}

/*
 * Takes one link of a suspended chain: walk.frame is the object to look at, afterwards the one it awaits;
 * walk.thread the frame that waits. Returns nonzero while there is more.
 */
__noinline int py_link(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);

	if (!t)
		return 0;
	u64 object = w->frame, next = 0;
	u8 *head = w->chunk;

	if (bpf_probe_read_user(head, OBJECT_HEAD, (void *)object)) {
		HEAD_FIELD(head, t->py.object_type) = 0; /* a small object at the end of its page */
		bpf_probe_read_user(head, (t->py.object_type + 16) & 63, (void *)object);
		if (HEAD_FIELD(head, t->py.object_type) == t->py_types.coroutine)
			return 0;
	}
	u64 type = HEAD_FIELD(head, t->py.object_type);

	if (!type)
		return 0;
	if (type == t->py_types.asend || type == t->py_types.athrow || type == t->py_types.wrapper ||
	    type == t->py_types.anext) {
		w->frame = HEAD_FIELD(head, t->py.object_type + 8); /* which it drives */
		return w->frame != 0;
	}
	if (type != t->py_types.coroutine && type != t->py_types.generator &&
	    type != t->py_types.async_generator)
		return 0;
	if (t->py.frame_owner == NO_OFFSET) {
		u64 frame = HEAD_FIELD(head, t->py.gen_frame), code;
		s32 lasti = -1;

		if (!frame)
			return 0; /* done */
		code = read_user(frame + t->py.frame_code);
		bpf_probe_read_user(&lasti, sizeof(lasti), (void *)(frame + t->py.frame_instr));
		w->thread = frame;
		next = awaited_by_object(t, frame, code, lasti);
		add_link(w, t, object, code, (u32)lasti, slot);
	} else {
		u32 at = t->py.gen_frame;
		u64 instr = HEAD_FIELD(head, at + t->py.frame_instr);
		s8 state = usual_state(t, head[t->py.gen_state & 0xff]);

		if (state >= 0 && w->event.depth)
			return 0; /* running or done */
		w->thread = object + at;
		next = awaited_by_frame(t, head, object + at, type, instr);
		add_link(w, t, object, HEAD_FIELD(head, at + t->py.frame_code), instr, slot);
	}
	w->frame = next;
	return next != 0;
}

/*
 * Walks the chain of what a coroutine waits for. Among the locals of the last frame may be a Context: a copy
 * made for work handed to a thread.
 */
static __always_inline void walk_chain(struct walk *w, struct target *t, u64 coroutine, u32 slot)
{
	w->frame = coroutine;
	w->thread = 0;
	for (int i = 0; i < CHAIN_MAX; i++)
		if (!py_link(slot))
			break;
	if (!w->event.depth || !w->frame || !w->thread)
		return;
	u64 code = read_user(w->thread + t->py.frame_code) & ~REFERENCE_TAGS;

	w->event.work = py_find_local(slot, w->thread, code, t->py_types.context);
}

/* Frame state of a coroutine: above 0 it has finished. */
static __always_inline u8 frame_state(struct target *t, u64 coroutine)
{
	s8 state = 0;

	if (t->py.frame_owner == NO_OFFSET)
		return read_user(coroutine + t->py.gen_frame) ? 0xff : 4;
	bpf_probe_read_user(&state, 1, (void *)(coroutine + t->py.gen_state));
	return usual_state(t, state);
}

static __always_inline u64 coroutine_code(struct target *t, u64 coroutine)
{
	u64 frame = coroutine + t->py.gen_frame;

	if (t->py.frame_owner == NO_OFFSET)
		frame = read_user(frame);
	return frame ? read_user(frame + t->py.frame_code) & CODE_ADDRESS : 0;
}

/*
 * Tells which of the tasks that the thread has made have ended. Eager ones begin at once, and may end without
 * a step, by which others' ends are told.
 */
__noinline int tell_ended(u32 slot)
{
	u64 id = bpf_get_current_pid_tgid();
	struct young_tasks *young = bpf_map_lookup_elem(&py_young, &id);
	struct target *t = find_target(id >> 32);

	if (!young || !t)
		return 0;
	for (int i = 0; i < YOUNG_MAX; i++) {
		u64 coroutine = young->coroutines[i];

		if (!coroutine)
			continue;
		s8 state = frame_state(t, coroutine);
		bool ended = state > 0 || coroutine_code(t, coroutine) != young->codes[i];

		if (!state && !ended) /* it runs below what runs now */
			continue;
		young->coroutines[i] = 0;
		struct walk *w = ended ? begin_stack(slot, EVENT_ENDED, id >> 32, id) : NULL;

		if (!w)
			continue;
		w->event.object = coroutine;
		w->event.status = STACK_EMPTY;
		w->event.depth = 0;
		send_frames(w, t);
	}
	return 0;
}

/* A thread has made a task. */
static __always_inline void add_young(struct target *t, u64 coroutine)
{
	u64 id = bpf_get_current_pid_tgid();
	struct young_tasks *young = bpf_map_lookup_elem(&py_young, &id), none = {};

	if (!young) {
		bpf_map_update_elem(&py_young, &id, &none, BPF_ANY);
		young = bpf_map_lookup_elem(&py_young, &id);
	}
	if (!young)
		return;
	u64 at = young->made++ & (YOUNG_MAX - 1);

	young->coroutines[at] = coroutine;
	young->codes[at] = coroutine_code(t, coroutine);
}

/* Begins an event of a lane in the scratch of uprobes, after those of tasks that may have ended before. */
static __always_inline struct walk *begin_lane_event(u32 kind, struct target *t, bool ended)
{
	u64 id = bpf_get_current_pid_tgid();
	struct walk *w;

	if (!claim_uprobe(LOSS_RING_STACK)) {
		__sync_fetch_and_add(&t->lost, 1);
		return NULL;
	}
	if (ended && t->py.eager_tasks)
		tell_ended(SCRATCH_UPROBE);
	w = begin_stack(SCRATCH_UPROBE, kind, id >> 32, id);
	if (!w)
		release_uprobe();
	return w;
}

static __always_inline void send_lane_event(u32 kind, struct target *t, u64 object)
{
	struct walk *w = begin_lane_event(kind, t, kind == EVENT_TASK);

	if (!w)
		return;
	w->event.object = object;
	send_stack(w, t, SCRATCH_UPROBE);
	if (kind == EVENT_TASK && t->scopes)
		tell_task_scope(t, object, SCRATCH_UPROBE);
	if (kind == EVENT_TASK && t->py.eager_tasks)
		add_young(t, object);
	release_uprobe();
}

/*
 * A step begins: the one before on this thread has ended. The chain of the task that goes on is walked
 * now, when nothing of it can have changed, rather than when it was suspended.
 */
static __always_inline void begin_step(struct target *t, u64 coroutine, u64 context)
{
	u64 id = bpf_get_current_pid_tgid();
	struct task_step *last = bpf_map_lookup_elem(&py_steps, &id);
	struct walk *w = begin_lane_event(EVENT_STEP, t, true);

	if (!w)
		return;
	struct coroutine_key key = {.coroutine = last ? last->coroutine : 0, .pid = id >> 32};
	u64 now = w->event.event.time;

	w->event.object = coroutine;
	w->event.item = context;
	w->event.status = STACK_OK;
	w->event.depth = 0;
	if (key.coroutine) {
		w->event.args[0] = key.coroutine;
		w->event.args[1] = frame_state(t, key.coroutine);
		if (last && coroutine_code(t, key.coroutine) != last->code)
			w->event.args[1] = 4;
	}
	key.coroutine = coroutine;
	u64 *walked = bpf_map_lookup_elem(&py_chains, &key);

	if (walked && now - *walked < CHAIN_EVERY_NS) {
		w->event.status = STACK_EMPTY;
	} else {
		walk_chain(w, t, coroutine, SCRATCH_UPROBE);
		bpf_map_update_elem(&py_chains, &key, &now, BPF_ANY);
	}
	send_frames(w, t);
	release_uprobe();
	struct task_step step = {.coroutine = coroutine, .code = coroutine_code(t, coroutine)};

	bpf_map_update_elem(&py_steps, &id, &step, BPF_ANY);
}

static __always_inline void step_task(struct target *t, u64 task)
{
	begin_step(t, read_user(task + t->py.task_coro), 0);
}

/* A thread of a target starts another. */
static __always_inline void thread_starts(struct target *t, u32 pid, u32 started)
{
	u64 id = bpf_get_current_pid_tgid();
	struct walk *w;

	if (t->runtime != RUNTIME_PYTHON || !gate_open(pid))
		return;
	w = begin_stack(SCRATCH_WAKE, EVENT_THREAD, id >> 32, id);
	if (!w)
		return;
	w->event.args[0] = started;
	send_stack(w, t, SCRATCH_WAKE);
}

/* tp_init of _asyncio.Task(self, args, kwds): args[0] is the coroutine. */
SEC("uprobe")
int task_init(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_TASKS);
	u64 args = UPROBE_ARG1(ctx);

	if (!t || (s64)own_field(t, args) < 1)
		return 0;
	struct coroutine_key key = {
	    .coroutine = read_user(args + t->py.tuple_items),
	    .pid = bpf_get_current_pid_tgid() >> 32,
	};
	bpf_map_delete_elem(&py_chains, &key); /* of an earlier one at this address */
	send_lane_event(EVENT_TASK, t, key.coroutine);
	return 0;
}

/* tp_call of TaskStepMethWrapper. */
SEC("uprobe")
int task_step(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_TASKS);

	if (t)
		step_task(t, own_field(t, UPROBE_ARG0(ctx)));
	return 0;
}

/* task_wakeup(task, future), up to 3.9 tp_call of TaskWakeupMethWrapper. */
SEC("uprobe")
int task_wakeup(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_TASKS);
	u64 task = UPROBE_ARG0(ctx);

	if (t)
		step_task(t, t->py.wakeup_is_wrapper ? own_field(t, task) : task);
	return 0;
}

/* contextvars.Context.run(self, args, nargs, kwnames), by which trio steps its tasks: args[0] is the send()
 * of a coroutine. */
SEC("uprobe")
int context_run(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_TASKS);

	if (!t)
		return 0;
	u64 method = read_user(UPROBE_ARG1(ctx));
	u64 coroutine = read_user(method + t->py.object_type + METHOD_SELF);

	if (t->py_types.coroutine && type_of(t, coroutine) == t->py_types.coroutine)
		begin_step(t, coroutine, UPROBE_ARG0(ctx));
	return 0;
}

/* PyContext_CopyCurrent() has returned the copy, or NULL, as does PyContext_Copy(). Event loops make one for
 * each callback that they are given, trio for each task. */
SEC("uprobe")
int context_copied(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_TASKS);
	u64 copy = UPROBE_RETURN(ctx);

	if (t && copy)
		send_lane_event(EVENT_COPY, t, copy);
	return 0;
}

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

/* Sends an event if it is queue.Queue that works with its deque now. */
static __always_inline void send_queue_event(u32 kind, struct target *t, u64 object)
{
	struct walk *w = begin_lane_event(kind, t, false);

	if (!w)
		return;
	u64 caller = py_leaf(w, t, SCRATCH_UPROBE);
	u64 known = kind == EVENT_TAKE ? t->get : t->put;

	w->event.object = object;
	if (caller == known && known) {
		send_stack(w, t, SCRATCH_UPROBE);
	} else if (!known && t->sought < SOUGHT_MAX) { /* its name may tell */
		t->sought++;
		py_walk(w, t, SCRATCH_UPROBE);
		if (caller == (kind == EVENT_TAKE ? t->get : t->put))
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
		send_queue_event(EVENT_JOB, t, UPROBE_ARG1(ctx));
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

	send_queue_event(EVENT_TAKE, t, read_user(block + DEQUE_BLOCK_ITEMS + 8 * index));
	return 0;
}

/* tp_init of greenlet.greenlet(self, args, kwds), which subclasses call too. */
SEC("uprobe")
int greenlet_init(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_GREENLETS);

	if (!t)
		return 0;
	u64 impl = read_user(UPROBE_ARG0(ctx) + t->py.object_type + GREENLET_IMPL);

	send_lane_event(EVENT_SPAWN, t, impl);
	return 0;
}

/*
 * greenlet::Greenlet::g_switchstack(): the Python stack is still that of the greenlet that leaves; the
 * object is the one that comes.
 */
SEC("uprobe")
int greenlet_switch(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_GREENLETS);

	if (t)
		send_lane_event(EVENT_GREENLET, t, SWITCHED_TO(ctx));
	return 0;
}

/* Before greenlet 2.0 the Python object is the greenlet: tp_init as above. */
SEC("uprobe")
int old_greenlet_init(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_GREENLETS);

	if (t)
		send_lane_event(EVENT_SPAWN, t, UPROBE_ARG0(ctx));
	return 0;
}

/* g_switch(target, args, kwargs), before greenlet 2.0: one leaves for the target. */
SEC("uprobe")
int old_greenlet_switch(struct pt_regs *ctx)
{
	struct target *t = lanes_target(LANES_GREENLETS);

	if (t)
		send_lane_event(EVENT_GREENLET, t, UPROBE_ARG0(ctx));
	return 0;
}

#endif
