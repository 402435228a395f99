/*
 * What a suspended coroutine waits for: the chain of coroutines, generators and asynchronous generators that
 * await each other. 5.10.
 */
#ifndef APM_CHAIN_H
#define APM_CHAIN_H

#include "stack.bpf.h"

#define OBJECT_HEAD 192 /* bytes of a coroutine up to its frame's stack top */
/* Links of a suspended chain: of an asynchronous generator's two one is a frame. */
#define CHAIN_MAX (2 * FRAMES_MAX)
#define BYTES_DATA 32
#define OPCODE_YIELD_FROM 72
#define TYPE_NAME 8 /* tp_name, as TYPE_SIZE */
#define DRIVER_FIELDS 10

#define HEAD_FIELD(head, offset) (*(u64 *)((head) + ((offset)&0xff)))

static __always_inline void add_link(struct walk *w, struct target *t, u64 object, u64 code, u64 instr,
				     u32 slot)
{
	u64 marked = seen_code(t, &w->event.event, code & CODE_ADDRESS, slot).marked;
	struct frame *link = next_frame(w);

	if (!link)
		return;
	link->address = object;
	link->code = marked;
	link->instr = (instr & 0xffffffffffffffULL) | (u64)FRAME_OWNED_BY_GENERATOR << 56;
}

/* The object that a suspended frame object (up to 3.10) awaits, 0: none. */
static __always_inline u64 awaited_by_object(struct target *t, u64 frame, u64 code, s32 lasti)
{
	u64 instrs = read_user(code + t->py.code_instrs) + BYTES_DATA, top;
	u32 depth = 0;
	u8 opcode = 0;

	if (lasti < 0)
		return 0;
	bool units = t->py.frame_stack_depth != NO_OFFSET; /* 3.10 counts units of 2 bytes */

	bpf_probe_read_user(&opcode, 1, (void *)(instrs + (units ? 2 * ((u64)lasti + 1) : (u64)lasti + 2)));
	if (opcode != OPCODE_YIELD_FROM)
		return 0;
	if (!units)
		return read_user(read_user(frame + t->py.frame_stack_top) - 8);
	bpf_probe_read_user(&depth, sizeof(depth), (void *)(frame + t->py.frame_stack_depth));
	top = read_user(frame + t->py.frame_value_stack) + 8 * ((u64)depth - 1);
	return read_user(top);
}

/* Frame state as 3.13 numbers it: below -1 it awaits nothing, above 0 it has finished. */
static __always_inline s8 usual_state(struct target *t, s8 state)
{
	if (t->py.await_told_by != AWAIT_BY_POINTER_RENUMBERED)
		return state;
	switch (state) {
	case 0: /* FRAME_CREATED */
		return -3;
	case 1: /* FRAME_SUSPENDED */
		return -2;
	case 2: /* FRAME_SUSPENDED_YIELD_FROM */
	case 3: /* FRAME_SUSPENDED_YIELD_FROM_LOCKED */
		return -1;
	case 4: /* FRAME_EXECUTING */
		return 0;
	}
	return 4;
}

/* The object that a suspended frame (3.11 and later) awaits, 0: none. */
static __always_inline u64 awaited_by_frame(struct target *t, u8 *head, u64 frame, u64 type, u64 instr)
{
	s8 state = usual_state(t, head[t->py.gen_state & 0xff]);
	u32 at = t->py.gen_frame + t->py.frame_stack_top;
	s32 top = *(s32 *)(head + (at & 0xfc));

	if (state != -1)
		return 0;
	if (t->py.await_told_by == AWAIT_BY_POINTER)
		return read_user(HEAD_FIELD(head, at) - 8) & ~REFERENCE_TAGS;
	if (t->py.await_told_by == AWAIT_BY_POINTER_RENUMBERED) /* an index lies on top */
		return read_user(HEAD_FIELD(head, at) - 16) & ~REFERENCE_TAGS;
	if (top <= 0 || top >= 4096)
		return 0;
	if (t->py.await_told_by == AWAIT_BY_RESUME && type == t->py_types.generator) {
		u8 argument = 0; /* 2: yield from, 3: await */

		bpf_probe_read_user(&argument, 1, (void *)(instr + 3));
		if (argument < 2 || argument > 7)
			return 0;
	}
	return read_user(frame + t->py.frame_locals + 8 * ((u64)top - 1));
}

/* Is it Cython's coroutine or generator? Each module has types of its own. */
static __always_inline bool is_cythons(struct target *t, u64 type)
{
	return read_user(read_user(own(t, type) + TYPE_NAME)) == EIGHT("_cython_");
}

/*
 * What an object of another type drives, 0: nothing. Proxies around coroutines or each other, and coroutines
 * of Cython's, have what they wait for among their first fields.
 */
static __always_inline u64 driven(struct target *t, u8 *head, u64 type)
{
	u32 at = t->py.object_type + 8;
	u64 size = read_user(own(t, type) + TYPE_SIZE);

	for (int i = 0; i < DRIVER_FIELDS && at + 8 <= size; i++, at += 8) {
		u64 value = HEAD_FIELD(head, at), of = value && !(value & 7) ? type_of(t, value) : 0;

		if (of && (of == t->py_types.coroutine || of == t->py_types.generator ||
			   of == t->py_types.wrapper || of == type || is_cythons(t, of)))
			return value;
	}
	return 0;
}

/*
 * Takes one link of a suspended chain: walk.frame is the object to look at, afterwards the one it awaits;
 * walk.thread the frame that waits. Returns nonzero while there is more.
 */
__noinline int py_link(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);

	if (!t)
		return 0;
	u64 object = w->frame, next = 0;
	u8 *head = w->chunk;

	if (bpf_probe_read_user(head, OBJECT_HEAD, (void *)object)) {
		HEAD_FIELD(head, t->py.object_type) = 0; /* a small object at the end of its page */
		bpf_probe_read_user(head, (t->py.object_type + 16) & 63, (void *)object);
		if (HEAD_FIELD(head, t->py.object_type) == t->py_types.coroutine)
			return 0;
	}
	u64 type = HEAD_FIELD(head, t->py.object_type);

	if (!type)
		return 0;
	if (type == t->py_types.asend || type == t->py_types.athrow || type == t->py_types.wrapper ||
	    type == t->py_types.anext) {
		w->frame = HEAD_FIELD(head, t->py.object_type + 8); /* which it drives */
		return w->frame != 0;
	}
	if (type != t->py_types.coroutine && type != t->py_types.generator &&
	    type != t->py_types.async_generator) {
		next = driven(t, head, type);
		if (next)
			w->frame = next;
		return next != 0;
	}
	if (t->py.frame_owner == NO_OFFSET) {
		u64 frame = HEAD_FIELD(head, t->py.gen_frame), code;
		s32 lasti = -1;

		if (!frame)
			return 0; /* done */
		code = read_user(frame + t->py.frame_code);
		bpf_probe_read_user(&lasti, sizeof(lasti), (void *)(frame + t->py.frame_instr));
		w->thread = frame;
		next = awaited_by_object(t, frame, code, lasti);
		add_link(w, t, object, code, (u32)lasti, slot);
	} else {
		u32 at = t->py.gen_frame;
		u64 instr = HEAD_FIELD(head, at + t->py.frame_instr);
		s8 state = usual_state(t, head[t->py.gen_state & 0xff]);

		if (state >= 0 && w->event.depth)
			return 0; /* running or done */
		w->thread = object + at;
		next = awaited_by_frame(t, head, object + at, type, instr);
		add_link(w, t, object, HEAD_FIELD(head, at + t->py.frame_code), instr, slot);
	}
	w->frame = next;
	return next != 0;
}

/*
 * Walks the chain of what a coroutine waits for. Among the locals of the last frame may be a Context: a copy
 * made for work handed to a thread.
 */
static __always_inline void walk_chain(struct walk *w, struct target *t, u64 coroutine, u32 slot)
{
	w->frame = coroutine;
	w->thread = 0;
	for (int i = 0; i < CHAIN_MAX; i++)
		if (!py_link(slot))
			break;
	if (!w->event.depth || !w->frame || !w->thread)
		return;
	u64 code = read_user(w->thread + t->py.frame_code) & ~REFERENCE_TAGS;

	w->event.work = py_find_local(slot, w->thread, code, t->py_types.context);
}

/* Frame state of a coroutine: above 0 it has finished. */
static __always_inline u8 frame_state(struct target *t, u64 coroutine)
{
	s8 state = 0;

	if (t->py.frame_owner == NO_OFFSET)
		return read_user(coroutine + t->py.gen_frame) ? 0xff : 4;
	bpf_probe_read_user(&state, 1, (void *)(coroutine + t->py.gen_state));
	return usual_state(t, state);
}

static __always_inline u64 coroutine_code(struct target *t, u64 coroutine)
{
	u64 frame = coroutine + t->py.gen_frame;

	if (t->py.frame_owner == NO_OFFSET)
		frame = read_user(frame);
	return frame ? read_user(frame + t->py.frame_code) & CODE_ADDRESS : 0;
}

#endif
