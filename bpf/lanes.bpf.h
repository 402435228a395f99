/*
 * Lanes inside a Python thread: tasks and greenlets switch without a system call. What all of them share, and
 * the uprobes where a task is created and where its step begins (in _asyncio; for trio, where a Context is
 * copied and where one runs something); internal/target finds these places, internal/trace reads what they
 * tell. While no sampled request is open a hit costs its trap and one load. 5.10.
 */
#ifndef APM_LANES_H
#define APM_LANES_H

#include "chain.bpf.h"

#define CHAIN_EVERY_NS 500000 /* a task that goes on more often than this is not worth a chain each time */
#define METHOD_SELF 16	      /* PyCFunctionObject.m_self, from ob_type on (Include/cpython/methodobject.h) */

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

#endif
