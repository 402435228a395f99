/*
 * The call stack of a CPython thread, walked in its own context, so never torn. Addresses only: names
 * are told by code.bpf.h. Reading from the process costs as much for a page as for two words, so from 3.11
 * on, where frames lie next to each other on the thread's data stack, one read brings many. Up to 3.10 they
 * are objects all over the heap, and each takes one read of two words.
 */
#ifndef APM_PYTHON_H
#define APM_PYTHON_H

#include "pystate.bpf.h"

#define DATA_STACK_NEAR 65536 /* a caller's frame further away lies elsewhere: in a generator */
#define FRAMES_A_CALL 16
#define WALK_CALLS 128 /* at most FRAMES_A_CALL * WALK_CALLS frames are walked */
#define NAMES_A_CALL 8
#define INTERPRETERS_MAX 64 /* that are looked at for one stack */

#define REFERENCE_TAGS 7ULL /* 3.14 and later (CPython Include/internal/pycore_stackref.h) */

#define FRAME_OWNED_BY_GENERATOR 1
#define FRAME_OWNED_BY_CSTACK 3 /* and above: entry shims without a function, 3.12+ (pycore_frame.h) */

/*
 * Bytes of the frame at address; NULL if they can't be read. Those on the data stack are read with what lies
 * below them in their page, which holds their callers.
 */
static __always_inline u8 *py_frame(struct walk *w, u64 address, u32 size, bool near)
{
	if (size > FRAME_SIZE_MAX)
		return NULL;
	if (w->end && address - w->start <= w->end - size - w->start)
		return w->chunk + ((address - w->start) & (PAGE - 1));
	if (!near) {
		if (bpf_probe_read_user(w->single, size, (void *)address))
			return NULL;
		return w->single;
	}
	u64 below = address & (PAGE - 1);

	w->start = address - below;
	w->end = address + size;
	if (!bpf_probe_read_user(w->chunk, below + size, (void *)w->start))
		return w->chunk + below;
	w->end = 0;
	return NULL;
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

/* The rest of the stack can't be read here: from there on the agent may still read it. */
static __always_inline int py_unreadable(struct walk *w, u64 address)
{
	struct frame *rest = next_frame(w);

	if (rest) {
		rest->address = address;
		rest->code = 0;
		rest->instr = 0;
	}
	w->event.status = STACK_UNREADABLE;
	return 0;
}

/*
 * Notes a frame's code object. Nearly every one is known to the agent, which takes one look; all else is left
 * to py_name_frames. coroutines: it has more to tell of those too.
 */
static __always_inline void py_note_code(struct walk *w, struct frame *f, u64 code, bool coroutines)
{
	struct code_slot *s = code_slot(w->event.event.pid, code);
	u64 told = coroutines ? s->code : s->code & (CODE_ADDRESS | CODE_TELLS);
	u32 freed = s->freed;

	f->code = code;
	if ((told ^ code) | (s->process ^ w->process) | (s->then ^ freed) || code == w->runner ||
	    code == w->bridge)
		w->unnamed = 1;
	else
		f->code = code | (u64)freed << 48;
}

#define FIELD(bytes, offset) (*(u64 *)((bytes) + ((offset) & (FRAME_SIZE_MAX - 8))))

/* Copies the next FRAMES_A_CALL frames of 3.11 and later. Returns nonzero while there are more. */
__noinline int py_walk_frames(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);

	if (!w)
		return 0;
	u64 callee = w->frame;

	for (int i = 0; i < FRAMES_A_CALL; i++) {
		u64 address = w->frame;

		if (!address)
			return 0;
		bool near = !w->event.depth || callee - address < DATA_STACK_NEAR;
		u8 *bytes = py_frame(w, address, w->size, near);

		if (!bytes)
			return py_unreadable(w, address);
		u64 owner = bytes[w->owner & (FRAME_SIZE_MAX - 1)];

		callee = address;
		w->frame = FIELD(bytes, w->prev);
		if (owner >= FRAME_OWNED_BY_CSTACK)
			continue;
		struct frame *f = next_frame(w);

		if (!f)
			return 0;
		f->address = address;
		f->instr = (FIELD(bytes, w->instr) & 0xffffffffffffffULL) | owner << 56;
		py_note_code(w, f, FIELD(bytes, w->code) & CODE_ADDRESS, false);
	}
	return 1;
}

/*
 * Copies the next FRAMES_A_CALL frames of 3.10 and older, whose f_back and f_code are neighbours, from f_back
 * on. It keeps little on its stack: since 6.13 functions with 64 bytes and more get one elsewhere, where the
 * kernel takes a quarter longer to see that it may copy something (check_object_size). So the instruction,
 * which few ask for, is read with them into the scratch.
 */
__noinline int py_walk_objects(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);

	if (!w)
		return 0;
	u32 lines = w->size; /* bytes up to the instruction, 0: not asked for */

	if (lines > FRAME_SIZE_MAX)
		return 0;
	for (int i = 0; i < FRAMES_A_CALL; i++) {
		struct {
			u64 back, code;
		} object;
		u64 address = w->frame, last = 0;

		if (!address)
			return 0;
		if (!lines) {
			if (bpf_probe_read_user(&object, sizeof(object), (void *)(address + w->prev)))
				return py_unreadable(w, address);
		} else {
			if (bpf_probe_read_user(w->single, lines, (void *)(address + w->prev)))
				return py_unreadable(w, address);
			object.back = *(u64 *)w->single;
			object.code = *(u64 *)(w->single + 8);
			last = *(u32 *)(w->single + (w->instr & (FRAME_SIZE_MAX - 4)));
		}
		w->frame = object.back;
		struct frame *f = next_frame(w);

		if (!f)
			return 0;
		f->address = address;
		f->instr = last;
		py_note_code(w, f, object.code & CODE_ADDRESS, true);
	}
	return 1;
}

/* The generator that owns a frame object takes one more read, which few frames need. */
static __always_inline void py_frame_owner(struct target *t, struct frame *f)
{
	f->address = read_user(f->address + t->py.frame_gen);
	f->instr |= (u64)FRAME_OWNED_BY_GENERATOR << 56;
}

#define LOCALS_MAX 32 /* of a frame that are looked at */

/* The items of a tuple are behind their number. */
static __always_inline u32 tuple_size(struct target *t, u64 tuple)
{
	return tuple ? read_user(tuple + t->py.tuple_items - sizeof(u64)) : 0;
}

/* How many locals, cells and free variables the frames of a code object have. */
static __always_inline u32 py_locals(struct target *t, u64 code)
{
	u32 locals = 0;

	bpf_probe_read_user(&locals, sizeof(locals), (void *)(code + t->py.code_locals));
	if (t->py.code_cells == NO_OFFSET)
		return locals;
	return locals + tuple_size(t, read_user(code + t->py.code_cells)) +
	       tuple_size(t, read_user(code + t->py.code_free));
}

/* A local of a frame, by its place. */
static __always_inline u64 py_local(struct target *t, u64 frame, u32 i)
{
	return read_user(frame + t->py.frame_locals + 8 * i) & ~REFERENCE_TAGS;
}

/* Finds a local of a type in a frame. Returns its address, 0: none. */
__noinline u64 py_find_local(u32 slot, u64 frame, u64 code, u64 wanted)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);

	if (!t)
		return 0;
	u32 locals = py_locals(t, code);

	for (u32 i = 0; i < LOCALS_MAX; i++) {
		if (i >= locals)
			break;
		u64 type, value = py_local(t, frame, i);

		value = in_cell(t, value, &type);
		if (type && type == wanted)
			return value;
	}
	return 0;
}

/*
 * Finds the Future that gets the result of the task which a callback makes now: behind the coroutine, as free
 * variables lie in the order of their names.
 */
__noinline int py_find_future(u32 slot, u64 frame, u64 code)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);
	bool behind = false;

	if (!t)
		return 0;
	u32 locals = py_locals(t, code);

	for (u32 i = 0; i < LOCALS_MAX; i++) {
		if (i >= locals)
			break;
		u64 value = py_local(t, frame, i);

		if (!value || type_of(t, value) != t->py_types.cell)
			continue;
		value = own_field(t, value);
		if (behind) {
			w->event.args[0] = value;
			break;
		}
		behind = value == w->event.object;
	}
	return 0;
}

/* What else the frames of run_coroutine_threadsafe, its callback and Future.result tell. */
static __always_inline void py_tell_hand_over(struct walk *w, struct target *t, u64 frame, u64 code, u32 slot)
{
	u32 kind = w->event.event.kind;

	if (kind == EVENT_TASK && code == t->callback)
		py_find_future(slot, frame, code);
	if (kind != EVENT_SWITCH_OUT || w->event.object)
		return;
	if (code == t->hands_over) {
		w->event.object = py_find_local(slot, frame, code, t->py_types.coroutine);
	} else if (code == t->result) {
		w->event.object = py_local(t, frame, 0);
		w->event.awaits = AWAITS_FUTURE;
	}
}

/* Sees to it that the agent knows the next NAMES_A_CALL code objects. Returns nonzero while there are more.
 */
__noinline int py_name_frames(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);

	if (!t)
		return 0;
	for (int i = 0; i < NAMES_A_CALL; i++) {
		u32 at = w->named++;

		if (at >= FRAMES_MAX || at >= w->event.depth)
			return 0;
		struct frame *f = &w->event.frames[at];
		u64 code = f->code & CODE_ADDRESS;

		if (!code) /* of the rest that can't be read */
			continue;
		struct seen seen = seen_code(t, &w->event.event, code, slot); /* may tell the runner */

		if (t->lanes & LANES_JOBS && code == t->runner) /* of nested ones the outermost counts */
			w->event.item = py_local(t, f->address, 0);
		f->code = seen.marked;
		if (code == t->bridge && w->event.event.kind == EVENT_SWITCH_OUT && !w->event.object)
			w->event.object = py_find_local(slot, f->address, code, t->py_types.coroutine);
		if (seen.tells)
			py_tell_hand_over(w, t, f->address, code, slot);
		if (t->py.frame_owner == NO_OFFSET && seen.coroutine)
			py_frame_owner(t, f);
	}
	return 1;
}

/* Adds the frames of the thread state that was read, if there is one. */
static __always_inline void py_walk_state(struct walk *w, struct target *t, u32 slot)
{
	bool objects = t->py.frame_owner == NO_OFFSET;

	if (!w->thread)
		return;
	w->found = w->thread;
	if (t->lanes && t->py.thread_context != NO_OFFSET && !w->event.depth)
		w->event.work = STATE(w, t, thread_context);
	w->end = 0;
	for (int i = 0; i < WALK_CALLS; i++)
		if (!(objects ? py_walk_objects(slot) : py_walk_frames(slot)))
			break;
}

/*
 * Adds the frames of the thread in walk.interpreter, and goes to the next. Returns nonzero while there are
 * more. The list has the newest first, and it is the older one that calls it; states without frames are of
 * interpreters that it has left.
 */
__noinline int py_walk_interpreter(u32 slot, u32 n)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);

	if (!t || !w->interpreter)
		return 0;
	struct known_state *known = n < KNOWN_INTERPRETERS ? py_known(w, n) : NULL;

	if (!known) {
		w->beyond.interpreter = 0;
		py_find_thread(w, t, slot, &w->beyond);
	} else if (known->interpreter != w->interpreter || !py_recall(w, t, known)) {
		py_find_thread(w, t, slot, known);
	}
	py_walk_state(w, t, slot);
	w->interpreter = read_user(w->interpreter + t->py.interp_next);
	return w->event.status != STACK_UNREADABLE;
}

/*
 * Is the thread where its stack cannot be told? 3.11 and 3.12 keep the topmost frame in a variable of the
 * function that runs code, which holds what an earlier call left there when the thread state points to it
 * already.
 */
static __always_inline bool py_is_unset(struct target *t)
{
	return t->py_unset && REGS_PC(user_regs()) - t->py_unset < t->py_unset_end - t->py_unset;
}

/* Adds the frames of the current thread in all interpreters. */
static __always_inline void py_walk_all(struct walk *w, struct target *t, u32 slot)
{
	w->interpreter = read_user(t->py_runtime + t->py.interp_head);
	for (int n = 0; n < INTERPRETERS_MAX; n++)
		if (!py_walk_interpreter(slot, n))
			break;
}

static __always_inline void py_begin(struct walk *w, struct target *t)
{
	w->event.status = STACK_OK;
	w->event.depth = 0;
	w->tls = current_tls();
	w->found = 0;
	w->process = code_owner(t, w->event.event.pid);
	w->runner = t->lanes & LANES_JOBS ? t->runner : 0;
	w->bridge = t->bridge;
	w->owner = t->py.frame_owner;
	w->prev = t->py.frame_prev;
	w->code = t->py.frame_code;
	w->instr = t->py.frame_instr;
	w->size = t->py.frame_size;
	if (w->owner == NO_OFFSET) { /* from frame_prev on */
		w->instr -= w->prev;
		w->size = t->lines ? w->instr + sizeof(u32) : 0;
	}
	w->unnamed = 0;
	w->named = 0;
}

/* The code object of the function that the current thread runs, 0: none. */
static __always_inline u64 py_leaf(struct walk *w, struct target *t, u32 slot)
{
	py_begin(w, t);
	if (!w->tls)
		return 0;
	if (several_interpreters(t, w->event.event.time)) {
		py_walk_all(w, t, slot);
		return w->event.depth ? w->event.frames[0].code & CODE_ADDRESS : 0;
	}
	py_find_only(w, t, slot);
	return w->thread && w->frame ? read_user(w->frame + t->py.frame_code) & CODE_ADDRESS : 0;
}

/* Fills walk.event with the stack of the current thread. */
static __always_inline void py_walk(struct walk *w, struct target *t, u32 slot)
{
	py_begin(w, t);
	if (w->tls && several_interpreters(t, w->event.event.time)) {
		py_walk_all(w, t, slot);
	} else if (w->tls) {
		py_find_only(w, t, slot);
		py_walk_state(w, t, slot);
	}
	if (!w->event.depth)
		w->event.status = w->found ? STACK_EMPTY : STACK_NO_THREAD;
	if (!w->unnamed)
		return;
	for (int i = 0; i < FRAMES_MAX / NAMES_A_CALL; i++)
		if (!py_name_frames(slot))
			break;
}

#define COROUTINE_FRAMES 64 /* from the leaf of a stack that are looked at */

/* Is a coroutine, or another generator, on the stack that was walked? */
__noinline int runs_coroutine(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);

	if (!w)
		return 0;
	for (u32 i = 0; i < COROUTINE_FRAMES; i++) {
		if (i >= w->event.depth)
			break;
		if (w->event.frames[i].instr >> 56 == FRAME_OWNED_BY_GENERATOR)
			return 1;
	}
	return 0;
}

#endif
