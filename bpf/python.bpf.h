/*
 * The call stack of a CPython thread, walked in its own context, so never torn. Addresses only: names
 * are read by internal/symbol. From 3.11 on frames lie next to each other on the thread's data stack,
 * so one large read brings many; elsewhere each frame takes one read.
 */
#ifndef APM_PYTHON_H
#define APM_PYTHON_H

#include "code.bpf.h"

#define CHUNK 4096
#define FRAME_SIZE_MAX 128
#define DATA_STACK_NEAR 65536 /* a caller's frame further away lies elsewhere: in a generator */
#define FRAMES_A_CALL 8
#define WALK_CALLS 256 /* at most FRAMES_A_CALL * WALK_CALLS frames are walked */
#define THREADS_A_CALL 16
#define FIND_CALLS 128

#define REFERENCE_TAGS 7ULL /* 3.14 and later (CPython Include/internal/pycore_stackref.h) */

#define FRAME_OWNED_BY_GENERATOR 1
#define FRAME_OWNED_BY_CSTACK 3 /* and above: entry shims without a function, 3.12+ (pycore_frame.h) */

struct walk {
	u64 frame;  /* to look at next, 0: done */
	u64 thread; /* PyThreadState */
	u64 tls;    /* the thread's TLS base, to find it by */
	u64 start;  /* where in the target chunk begins, 0: nothing read */
	u8 chunk[CHUNK + FRAME_SIZE_MAX];
	u8 single[FRAME_SIZE_MAX + 8];
	struct stack_event event;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
	__type(key, u32);
	__type(value, struct walk);
} scratch SEC(".maps");

struct thread_key {
	u64 tls;
	u32 pid;
	u32 pad;
};

/* Thread -> PyThreadState. Entries go with the thread; LRU bounds what a crash of the agent's view leaves. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct thread_key);
	__type(value, u64);
} py_threads SEC(".maps");

/*
 * Looks at the next THREADS_A_CALL thread states of the interpreter in walk.frame. Returns nonzero
 * while there is more to look at. A scalar argument, because 5.10 knows no other for global functions.
 */
__noinline int py_find_some(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t;

	if (!w)
		return 0;
	t = find_target(w->event.event.pid);
	if (!t)
		return 0;
	for (int i = 0; i < THREADS_A_CALL; i++) {
		u64 thread = w->thread;

		if (!thread) {
			w->frame = read_user(w->frame + t->py.interp_next);
			if (!w->frame)
				return 0;
			w->thread = read_user(w->frame + t->py.threads_head);
			continue;
		}
		if (is_thread(w->tls, read_user(thread + t->py.thread_id)))
			return 0;
		w->thread = read_user(thread + t->py.thread_next);
	}
	return 1;
}

/* Sets walk.thread to the PyThreadState of the thread with this TLS base, 0 if there is none. */
static __always_inline void py_find_thread(struct walk *w, struct target *t, u32 slot)
{
	struct thread_key key = {.tls = w->tls, .pid = w->event.event.pid};
	u64 *known = bpf_map_lookup_elem(&py_threads, &key);

	if (known) {
		w->thread = *known;
		if (is_thread(w->tls, read_user(w->thread + t->py.thread_id)))
			return;
	}
	w->frame = read_user(t->py_runtime + t->py.interp_head);
	w->thread = w->frame ? read_user(w->frame + t->py.threads_head) : 0;
	if (!w->frame)
		return;
	for (int i = 0; i < FIND_CALLS; i++)
		if (!py_find_some(slot))
			break;
	if (w->thread && is_thread(w->tls, read_user(w->thread + t->py.thread_id)))
		bpf_map_update_elem(&py_threads, &key, &w->thread, BPF_ANY);
	else
		w->thread = 0;
}

/* Bytes of the frame at address, from the chunk where it holds them; NULL if they can't be read. */
static __always_inline u8 *py_frame(struct walk *w, u64 address, u32 size, bool near)
{
	u64 offset = address - w->start;

	if (size > FRAME_SIZE_MAX)
		return NULL;
	if (w->start && offset <= CHUNK - size)
		return w->chunk + (offset & (CHUNK - 1));
	if (near) { /* the frame at the chunk's end, its callers below */
		w->start = address + size - CHUNK;
		if (!bpf_probe_read_user(w->chunk, CHUNK, (void *)w->start))
			return w->chunk + ((CHUNK - size) & (CHUNK - 1));
		w->start = 0;
	}
	if (bpf_probe_read_user(w->single, size, (void *)address))
		return NULL;
	return w->single;
}

/* Room for one more frame; NULL never, but the verifier does not know. Of a very deep stack the middle is
 * overwritten. */
static __always_inline struct frame *next_frame(struct walk *w)
{
	u32 at = w->event.depth++;

	if (at >= FRAMES_LEAF)
		at = FRAMES_LEAF + (at - FRAMES_LEAF) % FRAMES_ROOT;
	return at < FRAMES_MAX ? &w->event.frames[at] : NULL;
}

#define FIELD(bytes, offset) (*(u64 *)((bytes) + ((offset) & (FRAME_SIZE_MAX - 8))))

/* Copies the next FRAMES_A_CALL frames. Returns nonzero while there are more. */
__noinline int py_walk_some(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t;

	if (!w)
		return 0;
	t = find_target(w->event.event.pid);
	if (!t)
		return 0;
	u32 object = t->py.frame_owner == NO_OFFSET;
	u64 callee = w->frame;

	for (int i = 0; i < FRAMES_A_CALL; i++) {
		u64 address = w->frame;

		if (!address)
			return 0;
		bool near = !object && (!w->event.depth || callee - address < DATA_STACK_NEAR);
		u8 *bytes = py_frame(w, address, t->py.frame_size, near);

		if (!bytes) { /* from there on the agent may still read it */
			struct frame *rest = next_frame(w);

			if (rest) {
				rest->address = address;
				rest->code = 0;
				rest->instr = 0;
			}
			w->event.status = STACK_UNREADABLE;
			return 0;
		}
		u64 instr = FIELD(bytes, t->py.frame_instr), owner;
		callee = address;
		w->frame = FIELD(bytes, t->py.frame_prev);
		if (object) {
			u64 generator = FIELD(bytes, t->py.frame_gen);

			instr = *(u32 *)(bytes + (t->py.frame_instr & (FRAME_SIZE_MAX - 4)));
			owner = generator ? FRAME_OWNED_BY_GENERATOR : 0;
			address = generator ? generator : address;
		} else {
			owner = bytes[t->py.frame_owner & (FRAME_SIZE_MAX - 1)];
			if (owner >= FRAME_OWNED_BY_CSTACK)
				continue;
		}
		struct frame *f = next_frame(w);

		if (!f)
			return 0;
		f->address = address;
		u64 code = FIELD(bytes, t->py.frame_code) & CODE_ADDRESS;

		if (code == t->runner) /* of nested ones the outermost counts */
			w->event.item = read_user(callee + t->py.frame_locals) & ~REFERENCE_TAGS;
		f->code = seen_code(t, &w->event.event, code, slot);
		f->instr = (instr & 0xffffffffffffffULL) | owner << 56;
	}
	return 1;
}

/* Fills walk.event with the stack of the current thread. */
static __always_inline void py_walk(struct walk *w, struct target *t, struct task_struct *task, u32 slot)
{
	w->event.status = STACK_OK;
	w->event.depth = 0;
	w->start = 0;
	w->tls = TLS_BASE(task);
	w->thread = 0;
	if (w->tls)
		py_find_thread(w, t, slot);
	if (!w->thread) {
		w->event.status = STACK_NO_THREAD;
		return;
	}
	if (t->lanes && t->py.thread_context != NO_OFFSET)
		w->event.work = read_user(w->thread + t->py.thread_context);
	w->frame = read_user(w->thread + t->py.thread_frame);
	if (w->frame && t->py.cframe != NO_OFFSET)
		w->frame = read_user(w->frame + t->py.cframe);
	if (!w->frame) {
		w->event.status = STACK_EMPTY;
		return;
	}
	for (int i = 0; i < WALK_CALLS; i++)
		if (!py_walk_some(slot))
			break;
}

#endif
