/*
 * Stacks of targets with an open sampled request: where a thread is on its CPU (perf_event, CPU
 * clock), and where it leaves it, for how long and why (sched_switch, sched_waking). Read by
 * internal/probe and laid end to end by internal/trace. 5.10.
 */
#ifndef APM_STACK_H
#define APM_STACK_H

#include "go.bpf.h"
#include "scope.bpf.h"
#include <bpf/bpf_tracing.h>

#define S_IFMT 0170000

static __always_inline struct walk *begin_stack(u32 slot, u32 kind, u32 pid, u32 tid)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);

	if (!w)
		return NULL;
	stamp(&w->event.event, kind, pid, tid);
	w->event.object = 0;
	w->event.work = 0;
	w->event.item = 0;
	w->event.args[0] = 0;
	w->event.args[1] = 0;
	w->event.syscall = -1;
	w->event.state = 0;
	w->event.mode = 0;
	w->event.awaits = AWAITS_COROUTINE;
	return w;
}

/* Sends walk.event with the frames it has. */
static __always_inline void send_frames(struct walk *w, struct target *t)
{
	u32 frames = w->event.depth;

	if (frames > FRAMES_MAX)
		frames = FRAMES_MAX;
	u64 size = __builtin_offsetof(struct stack_event, frames) + frames * sizeof(struct frame);

	if (size > sizeof(w->event))
		return;
	if (bpf_ringbuf_output(&events, &w->event, size, BPF_RB_NO_WAKEUP)) {
		count_loss(LOSS_RING_STACK);
		__sync_fetch_and_add(&t->lost, 1);
	}
}

static __always_inline void send_stack(struct walk *w, struct target *t, u32 slot)
{
	py_walk(w, t, slot);
	if (t->scopes)
		tell_thread_scope(slot);
	send_frames(w, t);
}

static __always_inline void look_for_slow(void)
{
	if (slow.open)
		slow_check(bpf_ktime_get_ns());
}

/* Sends the stack of the current thread, if it is of a target that is worth it. */
__noinline int take_sample(void)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 pid = id >> 32;

	look_for_slow();
	if (!gate_open(pid))
		return 0;
	struct target *t = find_target(pid);

	if (!t)
		return 0;
	if (t->runtime == RUNTIME_GO) {
		go_sample(t, pid, id);
		return 0;
	}
	if (t->runtime != RUNTIME_PYTHON || py_is_unset(t)) /* the samples around such a one tell enough */
		return 0;
	struct walk *w = begin_stack(SCRATCH_SAMPLE, EVENT_SAMPLE, pid, id);

	if (w)
		send_stack(w, t, SCRATCH_SAMPLE);
	return 0;
}

u64 tick_handler; /* what the kernel calls at each tick */
u32 tick_samples; /* of so many ticks one takes a sample, 0: none does */

SEC("perf_event")
int sample(void *ctx)
{
	if (!tick_samples)
		return take_sample();
	look_for_slow(); /* their goroutines may all be parked, and every CPU idle, which has no ticks */
	return 0;
}

SEC("tp_btf/hrtimer_expire_entry")
int BPF_PROG(hrtimer_expire_entry, struct hrtimer *timer)
{
	if (!tick_samples || !bpf_core_field_exists(timer->function))
		return 0;
	if ((u64)GIVEN(timer, function) == tick_handler && !(bpf_jiffies64() % tick_samples))
		take_sample();
	return 0;
}

/* The file of a descriptor; known: whether the kernel knows the task's type. */
static __always_inline struct file *file_of(struct task_struct *task, u32 fd, bool known)
{
	struct files_struct *files = LOAD(known, task, files);
	struct fdtable *table = LOAD(known, files, fdt);
	struct file *file = NULL;

	if (fd >= LOAD(known, table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), LOAD(known, table, fd) + fd);
	return file;
}

static __always_inline u32 file_type(struct file *file)
{
	return file ? BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT : 0;
}

static __always_inline u32 task_state(struct task_struct *task)
{
	struct task_struct___5_13 *old = (void *)task;

	if (bpf_core_field_exists(old->state))
		return GIVEN(old, state);
	return GIVEN(task, __state);
}

/* A goroutine in a system call that waits, or preempted, stays with its thread. */
static __always_inline void go_switched_out(struct target *t, struct task_struct *task, u32 pid,
					    bool preempted)
{
	struct pt_regs *regs = user_regs();
	struct go_walk *w = go_switch_out(t, task, pid, regs);

	if (!w)
		return;
	w->event.state = preempted ? 0 : task_state(task);
	w->event.syscall = REGS_SYSCALL(regs);
	if (w->event.syscall >= 0 && w->event.state) {
		w->event.args[0] = REGS_ARG0(regs);
		w->event.args[1] = REGS_ARG1(regs);
		w->event.mode = file_type(file_of(task, w->event.args[0], typed));
	}
	send_go(w, t, regs, SCRATCH_SWITCH);
}

/* Is a thread's return to a CPU worth telling: was its leaving told? */
static __always_inline bool left_cpu(u32 pid, u64 thread)
{
	struct target *t = find_target(pid);

	return t && (t->runtime != RUNTIME_GO || !bpf_map_delete_elem(&go_off_cpu, &thread));
}

/* musl's condition variables (src/thread/pthread_cond_timedwait.c): a waiter waits on a word of its own
 * stack. */
enum musl_cond {
	COND_NEWEST = 8,      /* in pthread_cond_t: the newest waiter */
	WAITER_NEXT = 8,      /* in struct waiter: the one before it */
	WAITER_FUTEX = 20,    /* the word */
	GIL_SWITCH_COND = 88, /* from struct _gil_runtime_state's cond to its switch_cond */
};

#define WAITERS_NEWER 3 /* that came while a thread went from the list to its wait */

static __always_inline bool is_waiter(u64 cond, u64 futex)
{
	u64 waiter = read_user(cond + COND_NEWEST);

	for (int i = 0; i <= WAITERS_NEWER && waiter; i++) {
		if (waiter + WAITER_FUTEX == futex)
			return true;
		waiter = read_user(waiter + WAITER_NEXT);
	}
	return false;
}

/* May interpreters have locks of their own? */
static __always_inline bool has_own_gils(struct target *t)
{
	return t->several && t->py.interp_size != NO_OFFSET;
}

/* Does one have a lock of its own with this word? Those lie in it, wherever that is. */
static __always_inline bool is_own_gil(struct target *t, u64 futex)
{
	u64 interpreter = has_own_gils(t) ? read_user(t->py_runtime + t->py.interp_head) : 0;

	for (int i = 0; i < INTERPRETERS_MAX && interpreter; i++) {
		if (futex - interpreter < t->py.interp_size)
			return true;
		interpreter = read_user(interpreter + t->py.interp_next);
	}
	return false;
}

/* musl's has its waiters on a list. */
static __always_inline bool is_gil_of_musl(struct target *t, u64 futex)
{
	return t->py_gil && (is_waiter(t->py_gil, futex) || is_waiter(t->py_gil + GIL_SWITCH_COND, futex));
}

static __always_inline bool in_runtime(struct target *t, u64 futex)
{
	return futex >= t->py_runtime && futex < t->py_runtime_end;
}

/* Thread -> the word on which it waits for an interpreter lock, where that lies elsewhere than in _PyRuntime.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u64);
} gil_waits SEC(".maps");

/* Has a wait for an interpreter lock be one on _PyRuntime. */
static __always_inline void note_gil_wait(struct walk *w, struct target *t)
{
	u32 thread = w->event.event.tid;
	u64 futex = w->event.args[0];

	if (!(t->py_gil || has_own_gils(t)) || in_runtime(t, futex))
		return;
	if (is_gil_of_musl(t, futex) || is_own_gil(t, futex)) {
		bpf_map_update_elem(&gil_waits, &thread, &futex, BPF_ANY);
		w->event.args[0] = t->py_runtime;
	} else {
		bpf_map_delete_elem(&gil_waits, &thread);
	}
}

/* Is it on the interpreter lock that a thread waits? */
static __always_inline bool waits_for_gil(struct target *t, u32 thread, u64 futex)
{
	u64 *noted;

	if (in_runtime(t, futex))
		return true;
	if (!(t->py_gil || has_own_gils(t)))
		return false;
	noted = bpf_map_lookup_elem(&gil_waits, &thread);
	return noted && *noted == futex;
}

static __always_inline void switch_out(struct task_struct *task, u32 pid, bool preempted)
{
	struct target *t = find_target(pid);

	if (!t)
		return;
	if (t->runtime == RUNTIME_GO) {
		go_switched_out(t, task, pid, preempted);
		return;
	}
	if (t->runtime != RUNTIME_PYTHON)
		return;
	struct walk *w = begin_stack(SCRATCH_SWITCH, EVENT_SWITCH_OUT, pid, GIVEN(task, pid));

	if (!w)
		return;
	struct pt_regs *regs = user_regs();

	w->event.state = preempted ? 0 : task_state(task);
	w->event.syscall = REGS_SYSCALL(regs);
	if (w->event.syscall >= 0 && w->event.state) {
		w->event.args[0] = REGS_ARG0(regs);
		w->event.args[1] = REGS_ARG1(regs);
		w->event.mode = file_type(file_of(task, w->event.args[0], typed));
		if (w->event.syscall == NR_FUTEX)
			note_gil_wait(w, t);
	}
	if (!w->event.state && py_is_unset(t)) {
		w->event.status = STACK_UNREADABLE;
		w->event.depth = 0;
		send_frames(w, t);
		return;
	}
	send_stack(w, t, SCRATCH_SWITCH);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u32 prev_pid = GIVEN(prev, tgid), next_pid = GIVEN(next, tgid);

	if (gate_open(prev_pid))
		switch_out(prev, prev_pid, preempt);
	if (gate_open(next_pid) && left_cpu(next_pid, GIVEN(next, pid)))
		send_thread_event(EVENT_SWITCH_IN, next_pid, GIVEN(next, pid), 0, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Work for a thread that waits for some: a futex is woken that is not the interpreter lock's. */
static __always_inline void hands_over(struct target *t, struct task_struct *task, u32 pid)
{
	u64 id = bpf_get_current_pid_tgid();

	if (t->runtime != RUNTIME_PYTHON || id >> 32 != pid)
		return;
	struct pt_regs *waker = user_regs(), *woken = task_regs(task);

	if (REGS_SYSCALL(waker) != NR_FUTEX || REGS_SYSCALL(woken) != NR_FUTEX ||
	    waits_for_gil(t, GIVEN(task, pid), REGS_ARG0(woken)))
		return;
	struct walk *w = begin_stack(SCRATCH_WAKE, EVENT_HANDOFF, pid, id);

	if (!w)
		return;
	w->event.args[0] = GIVEN(task, pid);
	send_stack(w, t, SCRATCH_WAKE);
}

SEC("tp_btf/sched_waking")
int BPF_PROG(sched_waking, struct task_struct *task)
{
	u32 pid = GIVEN(task, tgid);

	if (!gate_open(pid))
		return 0;
	struct target *t = find_target(pid);

	if (!t || (t->runtime == RUNTIME_GO && !go_is_off_cpu(GIVEN(task, pid))))
		return 0;
	hands_over(t, task, pid);
	send_thread_event(EVENT_WAKE, pid, GIVEN(task, pid), bpf_get_current_pid_tgid(), BPF_RB_NO_WAKEUP);
	return 0;
}

#endif
