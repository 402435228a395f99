/*
 * Targets come and go: a child of a target is one from its first instruction on. 5.10.
 */
#ifndef APM_PROCESS_H
#define APM_PROCESS_H

#include "lanes.bpf.h"
#include <bpf/bpf_tracing.h>

#define LIFE_TICK 20 /* a millisecond: process ids are not used again as soon */

/* A target's process starts another. */
static __always_inline void target_forked(struct target *t, u32 parent_pid, u32 pid, u32 tid)
{
	u32 slot = pid % WATCHED_SLOTS;
	u8 *is_watched = bpf_map_lookup_elem(&watched, &slot);

	if (is_watched)
		*is_watched = 1;
	/* The same address space until it calls exec. From map to map: the stack is too small up to 6.12. */
	if (bpf_map_update_elem(&targets, &pid, t, BPF_ANY)) {
		count_loss(LOSS_TARGETS);
		return;
	}
	t = find_target(pid);
	if (!t)
		return;
	t->life = bpf_ktime_get_ns() >> LIFE_TICK | LIFE_BLIND; /* the uprobes are its parent's */
	t->tls = 0;
	t->requests = 0;
	t->lost = 0;
	send_thread_event(EVENT_FORK, pid, tid, parent_pid, wakeup_flags());
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	u32 parent_pid = GIVEN(parent, tgid), pid = GIVEN(child, tgid);
	struct target *t = find_target(parent_pid);

	if (!t)
		return 0;
	hold_cpu();
	if (pid == parent_pid)
		thread_starts(t, pid, GIVEN(child, pid));
	else
		target_forked(t, parent_pid, pid, GIVEN(child, pid));
	release_cpu();
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(sched_process_exec, struct task_struct *task)
{
	u32 pid = GIVEN(task, tgid);
	struct target *t = find_target(pid);

	if (!t)
		return 0;
	hold_cpu();
	t->runtime = RUNTIME_NONE;
	send_thread_event(EVENT_EXEC, pid, pid, 0, wakeup_flags());
	release_cpu();
	return 0;
}

/* A thread's TLS base is reused within a second, so what is known by it must go at once. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(sched_process_exit, struct task_struct *task)
{
	u32 pid = GIVEN(task, tgid);

	if (!find_target(pid))
		return 0;
	struct thread_key key = {.tls = GIVEN(task, TLS_BASE), .pid = pid};

	hold_cpu();
	bpf_map_delete_elem(&py_threads, &key);
	if (BPF_CORE_READ(task, signal, live.counter) == 0) {
		send_thread_event(EVENT_EXIT, pid, GIVEN(task, pid), 0, wakeup_flags());
		bpf_map_delete_elem(&targets, &pid);
	}
	release_cpu();
	return 0;
}

#endif
