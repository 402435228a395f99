/*
 * The call stack of a goroutine by frame pointers, walked in the context of the thread that runs it. Program
 * counters only: names, and the callers that have no frame yet, are told by internal/symbol. 5.10.
 */
#ifndef APM_GO_H
#define APM_GO_H

#include "target.bpf.h"

#define PCS_A_CALL 16
#define GO_STRETCH 16 /* bytes of code for which a depth is kept */

struct go_walk {
	u64 fp;	    /* frame pointer to look at next */
	u64 system; /* the thread is on a system stack: the goroutine stands where it left for it */
	u64 low;    /* the goroutine's stack, for frames elsewhere that were called from there */
	u64 high;
	u64 moves;    /* that is being copied to another place */
	u64 callback; /* as in struct go_layout */
	u32 callback_size;
	u32 callback_skip;
	struct go_event event;
};

/* One for each context that can interrupt another, as with Python's walks. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
	__type(key, u32);
	__type(value, struct go_walk);
} go_scratch SEC(".maps");

struct goroutine_key {
	u64 goroutine;
	u32 pid;
	u32 pad;
};

/*
 * Goroutines that serve requests: when one of them leaves its CPU, that is told. The value is when it began
 * to serve a stream of HTTP/2, 0 for HTTP/1. LRU, since they end unseen here.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct goroutine_key);
	__type(value, u64);
} go_serving SEC(".maps");

/* Threads that left their CPU with one of those. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, u64);
	__type(value, u8);
} go_off_cpu SEC(".maps");

/*
 * Who started a goroutine, by the goroutine, where the runtime keeps no account of it: before Go 1.21. Read
 * by the agent. LRU, since both end unseen here.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct goroutine_key);
	__type(value, u64);
} go_parents SEC(".maps");

struct goroutine {
	u64 g; /* 0: none is on the thread */
	u64 id;
	u64 system; /* the thread is on a system stack for it, or for itself */
};

/* What the thread's runtime.g says it is; on a system or signal stack its m says which goroutine it is there
 * for. */
static __always_inline struct goroutine find_goroutine(struct target *t, struct pt_regs *regs)
{
	struct goroutine r = {.g = GO_CURRENT(t, regs)};
	u64 m = r.g ? read_user(r.g + t->go.g_m) : 0;
	u64 current = m ? read_user(m + t->go.m_curg) : 0;

	r.system = current != r.g;
	r.g = current;
	if (r.g)
		r.id = read_user(r.g + t->go.g_goid);
	return r;
}

#define G_SYSCALL 3 /* runtime.g.atomicstatus (runtime/runtime2.go) */
#define G_COPYSTACK 8

/*
 * May the caller's frame lie below one? Stacks grow down. vDSO calls run on the system stack, above a frame
 * of the goroutine's. Where a stack is copied to another place, the frames there lead to what is left at the
 * old one, until each was made to lead to the new one, from the leaf on (runtime.copystack).
 */
static __always_inline bool may_be_below(struct go_walk *w, u64 caller)
{
	bool inside = caller >= w->low && caller < w->high;

	if (w->fp >= w->high && inside)
		return true;
	if (!w->moves)
		return false;
	w->moves = 0;
	return true;
}

/*
 * What C calls stands on the goroutine's stack, next to what has called C, but its frame leads to the system
 * stack, where C's are (runtime.cgocallback).
 */
static __always_inline u64 go_caller(struct go_walk *w, u64 frame[2])
{
	if (frame[1] - w->callback >= w->callback_size)
		return frame[0];
	u64 caller = w->fp + w->callback_skip;

	return caller < w->high ? caller : 0; /* a thread of C's has nothing there */
}

/* Copies the next PCS_A_CALL return addresses. Returns nonzero while there are more. */
__noinline int go_walk_some(u32 slot)
{
	struct go_walk *w = bpf_map_lookup_elem(&go_scratch, &slot);

	if (!w)
		return 0;
	for (int i = 0; i < PCS_A_CALL; i++) {
		u64 frame[2]; /* the caller's frame pointer, the return address */

		if (!w->fp || bpf_probe_read_user(frame, sizeof(frame), (void *)w->fp) || !frame[1])
			return 0;
		u32 at = w->event.depth++;

		if (at >= FRAMES_LEAF)
			at = FRAMES_LEAF + (at - FRAMES_LEAF) % FRAMES_ROOT;
		FORGET(at);
		if (at >= FRAMES_MAX)
			return 0;
		w->event.pcs[at] = frame[1];
		u64 caller = go_caller(w, frame);

		if (caller <= w->fp && !may_be_below(w, caller))
			return 0;
		w->fp = caller;
	}
	return 1;
}

struct go_place {
	u64 code; /* program counter / GO_STRETCH */
	u32 pid;
	u32 pad;
};

/*
 * How far the stack pointer is below the return address, where assembly was seen to use the frame pointer for
 * something else. Written by the agent. LRU, since processes end unseen here.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct go_place);
	__type(value, u32);
} go_depths SEC(".maps");

/* Does the frame pointer lead to a frame, whose first word is the caller's, or 0 in the outermost function?
 */
static __always_inline bool is_go_frame(struct go_walk *w, u64 sp)
{
	u64 caller;

	if (w->fp < sp || w->fp >= w->high || bpf_probe_read_user(&caller, sizeof(caller), (void *)w->fp))
		return false;
	return !caller || (caller > w->fp && caller < w->high);
}

/* Finds the leaf's frame without the frame pointer. */
static __always_inline void find_go_frame(struct go_walk *w, u64 sp)
{
	struct go_place place = {.code = w->event.pcs[0] / GO_STRETCH, .pid = w->event.event.pid};
	u32 *depth = bpf_map_lookup_elem(&go_depths, &place);

	w->fp = depth ? sp + *depth - sizeof(u64) : 0; /* below the return address lies the caller's */
	if (!is_go_frame(w, sp)) {
		w->fp = 0;
		w->event.lost = 1;
	}
}

static __always_inline struct go_walk *begin_go(u32 slot, u32 kind, u32 pid, u32 tid, struct goroutine *r)
{
	struct go_walk *w = bpf_map_lookup_elem(&go_scratch, &slot);

	if (!w)
		return NULL;
	stamp(&w->event.event, kind, pid, tid);
	w->event.goroutine = r->id;
	w->event.g = r->g;
	w->system = r->system;
	w->event.args[0] = 0;
	w->event.args[1] = 0;
	w->event.syscall = -1;
	w->event.state = 0;
	w->event.mode = 0;
	w->event.lost = 0;
	return w;
}

/* Walks the goroutine's stack and sends the event. */
static __always_inline void send_go(struct go_walk *w, struct target *t, struct pt_regs *regs, u32 slot)
{
	u64 g = w->event.g, sp;

	w->moves = 0;
	if (w->system) {
		u32 status = read_user(g + t->go.g_status);

		w->moves = status == G_COPYSTACK;
		w->event.pcs[0] = read_user(g + t->go.g_sched_pc);
		w->fp = read_user(g + t->go.g_sched_bp);
		sp = read_user(g + t->go.g_sched_sp);
		/* In C that has called Go: before Go 1.23 the frame pointer is what was left of that. */
		if (status == G_SYSCALL && w->fp < sp && t->go.callback_size)
			w->fp = sp + t->go.call_frame;
		w->event.callers[0] = read_user(sp);
	} else {
		w->event.pcs[0] = REGS_PC(regs);
		w->fp = REGS_FP(regs);
		sp = REGS_SP(regs);
		w->event.callers[0] = GO_CALLER(regs, sp);
	}
	w->event.callers[1] = read_user(sp + GO_CALLER_AT);
	u8 ran = 0;

	bpf_probe_read_user(&ran, sizeof(ran), (void *)(g + t->go.g_tracking_seq));
	w->event.ran = ran;
	w->low = read_user(g); /* stack.lo, stack.hi */
	w->high = read_user(g + 8);
	w->callback = t->go.callback;
	w->callback_size = t->go.callback_size;
	w->callback_skip = t->go.callback_skip;
	/* It is 0 where a goroutine begins. */
	if (GO_FP_IS_LENT && !w->system && w->fp && sp >= w->low && sp < w->high && !is_go_frame(w, sp))
		find_go_frame(w, sp);
	w->event.depth = 1;
	for (int i = 0; i < PCS_WALK / PCS_A_CALL; i++)
		if (!go_walk_some(slot))
			break;
	u32 depth = w->event.depth;

	if (depth > FRAMES_MAX)
		depth = FRAMES_MAX;
	u64 size = __builtin_offsetof(struct go_event, pcs) + depth * sizeof(u64);

	if (size > sizeof(w->event))
		return;
	if (bpf_ringbuf_output(&events, &w->event, size, BPF_RB_NO_WAKEUP)) {
		count_loss(LOSS_RING_STACK);
		__sync_fetch_and_add(&t->lost, 1);
	}
}

static __always_inline void go_sample(struct target *t, u32 pid, u32 tid)
{
	struct pt_regs *regs = user_regs();
	struct goroutine r = find_goroutine(t, regs);

	if (!r.id)
		return; /* the scheduler, or a thread of its own */
	struct go_walk *w = begin_go(SCRATCH_SAMPLE, EVENT_GO_SAMPLE, pid, tid, &r);

	if (w)
		send_go(w, t, regs, SCRATCH_SAMPLE);
}

/* Does a goroutine that serves requests go with the thread? Begins the event that tells so. */
static __always_inline struct go_walk *go_switch_out(struct target *t, struct task_struct *task, u32 pid,
						     struct pt_regs *regs)
{
	struct goroutine r = find_goroutine(t, regs);
	struct goroutine_key key = {.goroutine = r.id, .pid = pid};
	u64 thread = BPF_CORE_READ(task, pid);
	u8 yes = 1;

	if (!r.id || !bpf_map_lookup_elem(&go_serving, &key))
		return NULL;
	bpf_map_update_elem(&go_off_cpu, &thread, &yes, BPF_ANY);
	return begin_go(SCRATCH_SWITCH, EVENT_GO_SWITCH_OUT, pid, thread, &r);
}

static __always_inline void go_serves(u32 pid, u64 goroutine, u64 since)
{
	struct goroutine_key key = {.goroutine = goroutine, .pid = pid};

	bpf_map_update_elem(&go_serving, &key, &since, BPF_ANY);
}

/* Did the thread leave its CPU with a goroutine that serves requests? */
static __always_inline bool go_is_off_cpu(u64 thread)
{
	return bpf_map_lookup_elem(&go_off_cpu, &thread) != NULL;
}

/* In the part of runtime.newproc that runs on the system stack: the call runqput(p, newg, next). */
SEC("uprobe")
int go_newproc(struct pt_regs *ctx)
{
	struct goroutine_key key = {.pid = bpf_get_current_pid_tgid() >> 32};
	struct target *t = gate_open(key.pid) ? find_target(key.pid) : NULL;

	if (!t || t->runtime != RUNTIME_GO)
		return 0;
	u64 starter = read_user(read_user(GO_G(ctx) + t->go.g_m) + t->go.m_curg);
	u64 parent = starter ? read_user(starter + t->go.g_goid) : 0;

	key.goroutine = read_user(GO_ARG1(ctx) + t->go.g_goid);
	if (parent && key.goroutine)
		bpf_map_update_elem(&go_parents, &key, &parent, BPF_ANY);
	return 0;
}

#define SLOW_SHIFT 19 /* a generation of requests lasts 2^19 ns, about half a millisecond */
#define SLOW_GENERATIONS 128

/*
 * How many sampled requests of Go processes wait for their answer, and when they began: parked goroutines are
 * read from outside, by the agent, and only while one of these is slow. The agent sets it to zero while none
 * is open, so that a count that went astray does not stay; those that began before do not count any more.
 */
struct slow_requests {
	u64 since; /* when it was set to zero */
	u32 open;
	u32 pad;
	u32 begun[SLOW_GENERATIONS];
};
struct slow_requests slow;

enum slow_wake slow_wakes; /* what the agent asked for */

/* Wakes the agent; it says no more than that. The other events wait meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* a page; resized by the agent where pages are larger */
} slow_wakeups SEC(".maps");

static __always_inline u32 slow_generation(u64 time)
{
	return time >> SLOW_SHIFT & (SLOW_GENERATIONS - 1);
}

static __always_inline void slow_count(u64 time, u32 one)
{
	if (time < slow.since)
		return;
	__sync_fetch_and_add(&slow.open, one);
	__sync_fetch_and_add(&slow.begun[slow_generation(time)], one);
}

/* Wakes the agent if a request is open that began before the last generation. */
static __always_inline void slow_check(u64 now)
{
	u32 young = slow.begun[slow_generation(now)] + slow.begun[slow_generation(now - (1 << SLOW_SHIFT))];

	if (slow_wakes == SLOW_WAKES_NOT || (s32)(slow.open - young) <= 0)
		return;
	if (slow_wakes == SLOW_WAKES_IDLE && bpf_get_current_pid_tgid())
		return;
	slow_wakes = SLOW_WAKES_NOT;
	bpf_ringbuf_output(&slow_wakeups, &now, sizeof(now), BPF_RB_FORCE_WAKEUP);
}

#endif
