/*
 * Answers that an event loop writes for others, as twisted's does: the lane that has the answer only asks to
 * be told when the connection can be written to. A uprobe in the select module, which internal/target finds;
 * internal/trace reads what it tells. 5.10.
 */
#ifndef APM_EPOLL_H
#define APM_EPOLL_H

#include "lanes.bpf.h"
#include "request.bpf.h"

#define EPOLLOUT 4
#define INT_DIGIT 16 /* first digit of an int, from ob_type on (CPython longintrepr.h) */

/* select.epoll.modify(self, args, nargs, kwnames): args[0] is the descriptor, args[1] the events. */
SEC("uprobe")
int epoll_modify(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct target *t = gate_open(pid) ? find_target(pid) : NULL;
	u64 args = UPROBE_ARG1(ctx);

	if (!t || t->runtime != RUNTIME_PYTHON)
		return 0;
	u32 digit = t->py.object_type + INT_DIGIT;

	if (!(read_user(read_user(args + 8) + digit) & EPOLLOUT))
		return 0;
	u32 fd = read_user(read_user(args) + digit);
	u64 connection = (u64)sock_of((struct task_struct *)bpf_get_current_task(), fd);
	struct conn *c = connection ? bpf_map_lookup_elem(&conns, &connection) : NULL;

	if (c && c->sampled && !c->answering)
		send_lane_event(EVENT_ARM, t, connection);
	return 0;
}

#endif
