/*
 * Greenlets: uprobes where one is created and where one leaves its thread to another. 5.10.
 */
#ifndef APM_GREENLET_H
#define APM_GREENLET_H

#include "lanes.bpf.h"

#define GREENLET_IMPL 24 /* PyGreenlet.pimpl, from ob_type on (greenlet.h, 2.0 and later) */

/* The object of a method that returns a struct: on x86_64 the place for that is passed first. */
#if defined(__TARGET_ARCH_x86)
#define SWITCHED_TO(ctx) UPROBE_ARG1(ctx)
#else
#define SWITCHED_TO(ctx) UPROBE_ARG0(ctx)
#endif

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
