/*
 * What a walk of a CPython thread keeps, and the thread's PyThreadStates, which it starts from: one in each
 * interpreter that the thread is in, in lists that may be long, so they are kept in mind.
 */
#ifndef APM_PYSTATE_H
#define APM_PYSTATE_H

#include "code.bpf.h"

#define PAGE 4096 /* the smallest there is: what lies in one can be read if any of it can */
#define THREADS_A_CALL 16
#define FIND_CALLS 128
#define INTERPRETERS_EVERY 10000000 /* ns between looks whether there are several */
#define BASE_FRAME_NEAR 4096	    /* a frame so soon behind its thread state is below all others, 3.15+ */
#define STATELESS_FOR 10000000	    /* ns that a thread is believed to have no state … */
#define YOUNG_FOR 1000000000	    /* … once it is so old */

enum read_size {			/* bytes that can be read at once … */
		 FRAME_SIZE_MAX = 128,	/* … of a frame */
		 THREAD_SIZE_MAX = 512, /* … of a thread state */
};

/* What was found of a thread in one interpreter. */
struct known_state {
	u64 interpreter;
	u64 state;  /* PyThreadState, 0: it had none … */
	u64 next;   /* the one behind it, or behind the newest where it had none */
	u64 newest; /* … while this was the newest of the interpreter … */
	u64 seen;   /* … then */
};

#define KNOWN_INTERPRETERS 4

struct known_states {
	struct known_state in[KNOWN_INTERPRETERS];
};

struct walk {
	u64 frame;	 /* to look at next, 0: done */
	u64 thread;	 /* PyThreadState */
	u64 until;	 /* those behind this one are known not to be the thread's … */
	u64 known;	 /* … if this is the next: its address may be another's by now */
	u64 bare;	 /* a PyThreadState that may be the thread's, but has no frames */
	u64 tls;	 /* the thread's TLS base, to find it by */
	u64 interpreter; /* to look at next */
	u64 found;	 /* in any interpreter: a PyThreadState */
	u64 start;	 /* what chunk holds of the target: from here … */
	u64 end;	 /* … to here; 0: nothing */
	u64 process;	 /* whose code objects are met, as in a code_slot */
	u64 runner;	 /* of its target, as is bridge: code objects of which more is to be told */
	u64 bridge;
	u32 size; /* of a frame what is read, and where in it things are: of the target's layout */
	u32 owner;
	u32 prev;
	u32 code;
	u32 instr;
	u32 unnamed; /* there are frames of which more is to be told than their addresses */
	u32 named;   /* frames of the event that were looked at for that */
	u32 behind;  /* 1: the state found lies behind a bare one, which is the thread's once it has frames */
	u8 chunk[PAGE + FRAME_SIZE_MAX];
	u8 single[FRAME_SIZE_MAX + 8];
	u8 state[THREAD_SIZE_MAX + 8]; /* of the PyThreadState, from py_layout.thread_start on */
	struct known_states nothing;   /* never written to */
	struct known_state beyond;     /* of interpreters of which nothing is kept */
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

/*
 * Thread -> its PyThreadStates, for the newest interpreters. Entries go with the thread; LRU bounds what a
 * crash of the agent's view leaves.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct thread_key);
	__type(value, struct known_states);
} py_threads SEC(".maps");

/* The target whose thread a walk is of; NULL: none any more. */
static __always_inline struct target *walked(struct walk *w)
{
	return w ? find_target(w->event.event.pid) : NULL;
}

/* The topmost frame of a thread state, 0: none. */
static __always_inline u64 py_top(struct target *t, u64 frame)
{
	return frame && t->py.cframe != NO_OFFSET ? read_user(frame + t->py.cframe) : frame;
}

/*
 * Looks at the next THREADS_A_CALL thread states from walk.thread on. Returns nonzero while there is more to
 * look at. Up to 3.11 the state of a thread that has yet to begin has the identifier of who starts it
 * (Python/pystate.c, new_threadstate), so one without frames is only noted. From 3.12 on the newest is the
 * thread's: behind it may be what is left of one of a parent's that had the identifier, where a server forks
 * without Python's knowledge (uWSGI). A scalar argument, because 5.10 knows no other for global functions.
 */
__noinline int py_find_some(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);

	if (!t)
		return 0;
	for (int i = 0; i < THREADS_A_CALL; i++) {
		u64 thread = w->thread;

		if (!thread)
			return 0;
		if (is_thread(w->tls, read_user(thread + t->py.thread_id))) {
			if (t->py.newest_is_own || py_top(t, read_user(thread + t->py.thread_frame))) {
				w->behind = !!w->bare;
				return 0;
			}
			if (!w->bare)
				w->bare = thread;
		}
		w->thread = read_user(thread + t->py.thread_next);
		if (thread == w->until && w->thread == w->known)
			w->thread = 0;
	}
	return 1;
}

/* A field of the thread state that py_read_thread has read. */
#define STATE(w, t, field)                                                                                   \
	(*(u64 *)((w)->state + (((t)->py.field - (t)->py.thread_start) & (THREAD_SIZE_MAX - 8))))

/*
 * Reads walk.thread, in one piece, and sets walk.frame to its topmost frame. Is it the state of the thread
 * with this TLS base?
 */
static __always_inline bool py_read_thread(struct walk *w, struct target *t)
{
	u32 size = t->py.thread_size;

	if (size > THREAD_SIZE_MAX ||
	    bpf_probe_read_user(w->state, size, (void *)(w->thread + t->py.thread_start)) ||
	    !is_thread(w->tls, STATE(w, t, thread_id)))
		return false;
	w->frame = py_top(t, STATE(w, t, thread_frame));
	return true;
}

/*
 * Reads the state that the thread had last. It may be what is left of one that was freed: a thread that is
 * none of Python's gets a new one each time that it calls in. Then the neighbours do not know it.
 */
static __always_inline bool py_recall(struct walk *w, struct target *t, struct known_state *known)
{
	w->thread = known->state;
	if (!w->thread || !py_read_thread(w, t) || STATE(w, t, thread_next) != known->next)
		return false;
	if (w->frame && w->frame - w->thread >= BASE_FRAME_NEAR)
		return true;
	u64 newer = STATE(w, t, thread_prev);

	return read_user(newer ? newer + t->py.thread_next : known->interpreter + t->py.threads_head) ==
	       w->thread;
}

/*
 * Is a thread still believed to have no state? One of Python's that has just begun has one that does not say
 * so yet, so none is that is young.
 */
static __always_inline bool py_is_stateless(struct walk *w, struct known_state *known)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	u64 now = w->event.event.time;

	return known->interpreter == w->interpreter && !known->state && now - known->seen < STATELESS_FOR &&
	       now - BPF_CORE_READ(task, start_time) > YOUNG_FOR;
}

/*
 * Sets walk.thread to the state of the thread in walk.interpreter and reads it; 0: there is none. For that
 * all states may have to be looked at. A thread that never runs Python would have it done for each of its
 * stacks, so it is kept in mind that it has none: only states that were added since, in front, are looked at
 * then. One that took the place of the newest behind others is found when STATELESS_FOR has passed.
 */
static __always_inline void py_find_thread(struct walk *w, struct target *t, u32 slot,
					   struct known_state *known)
{
	u64 newest = read_user(w->interpreter + t->py.threads_head);
	bool stateless = py_is_stateless(w, known);

	w->until = stateless ? known->newest : 0;
	w->known = known->next;
	w->thread = newest;
	w->bare = 0;
	w->behind = 0;
	for (int i = 0; i < FIND_CALLS; i++)
		if (!py_find_some(slot))
			break;
	if (!w->thread)
		w->thread = w->bare;
	if (w->thread && !py_read_thread(w, t))
		w->thread = 0;
	known->interpreter = w->interpreter;
	known->state = w->thread;
	known->newest = newest;
	if (w->thread) /* no other state lies at an odd address */
		known->next = STATE(w, t, thread_next) | w->behind;
	else
		known->next = read_user(newest + t->py.thread_next);
	if (!stateless)
		known->seen = w->event.event.time;
}

/* Does the process have sub-interpreters? They come and go, but not often. */
static __always_inline bool several_interpreters(struct target *t, u64 now)
{
	if (now - t->interpreters_seen < INTERPRETERS_EVERY)
		return t->several;
	u64 head = read_user(t->py_runtime + t->py.interp_head);

	t->interpreter = head;
	t->several = head && read_user(head + t->py.interp_next);
	t->interpreters_seen = head ? now : 0;
	return t->several;
}

/* What is known of the thread in the n-th interpreter; NULL never, but the verifier does not know. */
static __always_inline struct known_state *py_known(struct walk *w, u32 n)
{
	struct thread_key key = {.tls = w->tls, .pid = w->event.event.pid};
	struct known_states *known = bpf_map_lookup_elem(&py_threads, &key);

	if (!known) {
		bpf_map_update_elem(&py_threads, &key, &w->nothing, BPF_ANY);
		known = bpf_map_lookup_elem(&py_threads, &key);
	}
	if (!known)
		return NULL;
	FORGET(n); /* or the sum comes before the check */
	return &known->in[n & (KNOWN_INTERPRETERS - 1)];
}

/*
 * Sets walk.thread to the state of the thread in the only interpreter and reads it; 0: there is none. In
 * others, which were there before or have just been made, it may have one too.
 */
static __always_inline void py_find_only(struct walk *w, struct target *t, u32 slot)
{
	struct known_state *known = py_known(w, 0);

	if (known && known->interpreter == t->interpreter && py_recall(w, t, known))
		return;
	w->thread = 0;
	if (!known)
		return;
	w->interpreter = t->interpreter;
	if (w->interpreter)
		py_find_thread(w, t, slot, known);
}

#endif
