/*
 * Answers that an event loop writes for others: under twisted's the lane that has the answer asks to be told
 * when the connection can be written to, uvloop's takes it and writes later. Uprobes in the select module and
 * in uvloop, which internal/target finds; internal/trace reads what they tell. 5.10.
 */
#ifndef APM_EPOLL_H
#define APM_EPOLL_H

#include "lanes.bpf.h"
#include "request.bpf.h"

#define EPOLLOUT 4
#define INT_DIGIT 16 /* first digit of an int, from ob_type on (CPython longintrepr.h) */
#define UV_HANDLE 16 /* UVHandle._handle, from ob_type on (uvloop handles/handle.pxd, Cython's layout) */
#define UV_FD 184    /* uv_stream_t.io_watcher.fd (libuv uv.h, uv/unix.h) */

/* The lane that runs has an answer for the connection of a descriptor. */
static __always_inline void send_arm(struct target *t, u32 fd)
{
	u64 connection = (u64)sock_of((struct task_struct *)bpf_get_current_task(), fd);
	struct conn *c = connection ? bpf_map_lookup_elem(&conns, &connection) : NULL;

	if (c && c->sampled && !c->answering)
		send_lane_event(EVENT_ARM, t, connection);
}

static __always_inline struct target *arm_target(void)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct target *t = gate_open(pid) ? find_target(pid) : NULL;

	return t && t->runtime == RUNTIME_PYTHON ? t : NULL;
}

/* select.epoll.modify(self, args, nargs, kwnames): args[0] is the descriptor, args[1] the events. */
SEC("uprobe")
int epoll_modify(struct pt_regs *ctx)
{
	struct target *t = arm_target();
	u64 args = UPROBE_ARG1(ctx);

	if (!t)
		return 0;
	u32 digit = t->py.object_type + INT_DIGIT;

	if (!(read_user(read_user(args + 8) + digit) & EPOLLOUT))
		return 0;
	send_arm(t, read_user(read_user(args) + digit));
	return 0;
}

/* uvloop.loop.UVStream.write(self, data) and writelines */
SEC("uprobe")
int stream_write(struct pt_regs *ctx)
{
	struct target *t = arm_target();

	if (t)
		send_arm(t, read_user(read_user(UPROBE_ARG0(ctx) + t->py.object_type + UV_HANDLE) + UV_FD));
	return 0;
}

#endif
