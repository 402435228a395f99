/*
 * Which processes are targets, whether anything of them is worth a look now, and how events leave.
 * Every program reads this first.
 */
#ifndef APM_TARGET_H
#define APM_TARGET_H

#include "arch.bpf.h"
#include "event.h"

/* Offsets of one CPython version; see internal/symbol for their source. NO_OFFSET: has none. */
#define NO_OFFSET 0xffffffff

struct py_layout {
	u32 interp_head; /* in _PyRuntime */
	u32 interp_next;
	u32 threads_head;
	u32 thread_next;
	u32 thread_id;
	u32 thread_frame;
	u32 cframe; /* from thread_frame's object on to the frame; NO_OFFSET: it is the frame */
	u32 frame_prev;
	u32 frame_code;
	u32 frame_instr;
	u32 frame_owner; /* NO_OFFSET: frames are objects (up to 3.10) */
	u32 frame_gen;	 /* frame objects: the generator that owns it */
	u32 frame_size;	 /* bytes of a frame to read */
	u32 code_mark;	 /* code objects: two words that name them: name and line table */
};

enum runtime {
	RUNTIME_NONE, /* between exec and recognition by the agent */
	RUNTIME_PYTHON,
};

struct target {
	u64 py_runtime; /* address of _PyRuntime */
	struct py_layout py;
	u32 runtime;
	u32 sample_every; /* one of so many requests gets stacks */
	u64 requests;	  /* begun so far */
	u64 lost;	  /* stack events that were lost */
};

/* Process -> target. Written by the agent, and here on fork; deleted on exit. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct target);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* resized by the agent */
} events SEC(".maps");

/* enum loss -> count. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_COUNT);
	__type(key, u32);
	__type(value, u64);
} losses SEC(".maps");

/*
 * The gate: how many sampled requests are open in the processes that share a slot. All but nothing
 * of a context switch's cost for everybody is this one load.
 */
#define GATES 16384
u32 gates[GATES];

/* [0]: set by the agent while it sleeps with its timers off: the next request must wake it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} agent_idle SEC(".maps");

/* Makes the compiler forget what it knows of a value. */
#define FORGET(value) asm volatile("" : "+r"(value))

static __always_inline void count_loss(u32 cause)
{
	u64 *n = bpf_map_lookup_elem(&losses, &cause);

	if (n)
		(*n)++;
}

static __always_inline bool gate_open(u32 pid)
{
	return gates[pid % GATES] != 0;
}

static __always_inline struct target *find_target(u32 pid)
{
	return bpf_map_lookup_elem(&targets, &pid);
}

static __always_inline u64 read_user(u64 address)
{
	u64 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (void *)address);
	return value;
}

static __always_inline u64 wakeup_flags(void)
{
	u32 zero = 0;
	u32 *idle = bpf_map_lookup_elem(&agent_idle, &zero);

	return idle && *idle ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void stamp(struct event *event, u32 kind, u32 pid, u32 tid)
{
	event->time = bpf_ktime_get_ns();
	event->kind = kind;
	event->pid = pid;
	event->tid = tid;
	event->pad = 0;
}

static __always_inline void send_thread_event(u32 kind, u32 pid, u32 tid, u32 peer, u64 flags)
{
	struct thread_event event = {.peer = peer};

	stamp(&event.event, kind, pid, tid);
	if (bpf_ringbuf_output(&events, &event, sizeof(event), flags))
		count_loss(LOSS_RING_OTHER);
}

#endif
