/*
 * For which request an application is called, by what it is called with: WSGI's environ or ASGI's scope, a
 * dict among the first arguments of a function, or of a coroutine a field of an object there. It is searched
 * for where threads answer that run no Python, so that nothing else ties the answer to the lane that made it.
 * Read by internal/trace. 5.10.
 */
#ifndef APM_SCOPE_H
#define APM_SCOPE_H

#include "python.bpf.h"

#define SCOPE_ARGS 4	    /* of a function that are looked at */
#define SCOPE_FIELDS 8	    /* words of an object there */
#define SCOPE_FRAMES 2	    /* outermost functions of a thread */
#define SCOPE_KEYS_A_CALL 2 /* of a dict */
#define SCOPE_KEYS_CALLS 64 /* at most SCOPE_KEYS_A_CALL * SCOPE_KEYS_CALLS keys are looked at */
#define SCOPE_DICTS 4	    /* that are looked at for one function */

/* From the end of an object's head on; the same from 3.6 to 3.15 (CPython Include/cpython/dictobject.h,
 * bytesobject.h, object.h, longintrepr.h). */
#define DICT_KEYS 16
#define LIST_ITEMS 8
#define INT_DIGITS 8
#define TYPE_SIZE 16 /* tp_basicsize */
#define BYTES_SIZE 0
#define BYTES_TEXT 16

/* PyDictKeysObject up to 3.10 and from 3.11 on (CPython Objects/dict-common.h,
 * Include/internal/pycore_dict.h). */
#define OLD_KEYS_SIZE 8
#define OLD_KEYS_COUNT 32
#define OLD_KEYS_INDICES 40
#define KEYS_SIZES 8 /* log2 of the table's and of the indices' size, kind; a byte each */
#define KEYS_COUNT 24
#define KEYS_INDICES 32

struct scope_search {
	struct scope_event event;
	u64 entry; /* of a dict: to look at next */
	u32 left;  /* entries */
	u32 size;  /* of an entry */
	u32 dicts; /* that were looked at */
	u32 pad;
};

/* One for each context that can interrupt another, as with walks. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
	__type(key, u32);
	__type(value, struct scope_search);
} scope_scratch SEC(".maps");

/* A port, as an int or as text; 0: it is none. */
static __always_inline u32 scope_port(struct target *t, u64 object)
{
	u64 type = type_of(t, object), digits, length;
	u32 port = 0;

	if (type && type == t->py_types.integer)
		return (u32)read_user(own(t, object) + INT_DIGITS);
	if (!type || type != t->py_types.text)
		return 0;
	length = read_user(object + t->py.str_length);
	digits = read_user(object + t->py.str_ascii);
	for (int i = 0; i < 5; i++) {
		if (i >= length)
			break;
		port = port * 10 + ((digits & 0xff) - '0');
		digits >>= 8;
	}
	return port;
}

/* Reads a str or bytes object; the latter as if it were a str of Latin-1. */
static __always_inline void scope_text(struct target *t, struct text *text, u64 object)
{
	u64 type = type_of(t, object), size;

	text->address = object;
	if (type && type == t->py_types.text) {
		read_text(t, text);
		return;
	}
	if (!type || type != t->py_types.bytes)
		return;
	text->length = read_user(own(t, object) + BYTES_SIZE);
	text->state = TEXT_BYTES << (t->py.str_kind & 31);
	size = text->length;
	if (size > TEXT_MAX)
		size = TEXT_MAX;
	FORGET(size);
	if (size <= TEXT_MAX && !bpf_probe_read_user(text->data, size, (void *)(own(t, object) + BYTES_TEXT)))
		text->size = size;
}

static __always_inline void scope_entry(struct target *t, struct scope_event *e, u64 key, u64 value)
{
	u64 length = read_user(key + t->py.str_length), name;

	if (!key || !value || length < 4 || length > 12)
		return;
	name = read_user(key + t->py.str_ascii);
	if (length == 6 && (name & 0xffffffffffffULL) == (EIGHT("client\0") & 0xffffffffffffULL)) {
		u64 type = type_of(t, value), items = value + t->py.tuple_items;

		if (type == t->py_types.list)
			items = read_user(own(t, value) + LIST_ITEMS);
		if (type == t->py_types.tuple || type == t->py_types.list)
			e->port = scope_port(t, read_user(items + 8));
	} else if (length == 11 && name == EIGHT("REMOTE_PORT")) {
		e->port = scope_port(t, value);
	} else if ((length == 4 && (name & 0xffffffffULL) == (EIGHT("path\0\0\0") & 0xffffffffULL)) ||
		   (length == 9 && name == EIGHT("PATH_INFO"))) {
		scope_text(t, &e->path, value);
	} else if (length == 12 && (name == EIGHT("query_string") || name == EIGHT("QUERY_STRING"))) {
		scope_text(t, &e->query, value);
	}
}

/* Looks at the next SCOPE_KEYS_A_CALL entries of a dict. Returns nonzero while there is more to look at. */
__noinline int scope_keys(u32 slot)
{
	struct scope_search *s = bpf_map_lookup_elem(&scope_scratch, &slot);
	struct target *t = s ? find_target(s->event.event.pid) : NULL;

	if (!t)
		return 0;
	for (int i = 0; i < SCOPE_KEYS_A_CALL; i++) {
		struct {
			u64 key, value;
		} entry;

		if (!s->left)
			return 0;
		if (bpf_probe_read_user(&entry, sizeof(entry), (void *)s->entry))
			return 0;
		s->entry += s->size;
		s->left--;
		scope_entry(t, &s->event, entry.key, entry.value);
		if (s->event.path.size && s->event.query.address && s->event.port)
			return 0;
	}
	return 1;
}

/* Reads a dict. Returns nonzero if it tells of a request. */
__noinline int scope_dict(u32 slot, u64 dict)
{
	struct scope_search *s = bpf_map_lookup_elem(&scope_scratch, &slot);
	struct target *t;

	if (!s || s->dicts >= SCOPE_DICTS)
		return 0;
	t = find_target(s->event.event.pid);
	if (!t)
		return 0;
	u64 keys = read_user(own(t, dict) + DICT_KEYS), size;

	s->dicts++;
	s->event.port = 0;
	s->event.path.address = s->event.path.size = 0;
	s->event.query.address = s->event.query.size = 0;
	s->event.query.length = 0;
	s->size = 24;
	if (t->py.frame_owner == NO_OFFSET) {
		size = read_user(keys + OLD_KEYS_SIZE);
		s->left = read_user(keys + OLD_KEYS_COUNT);
		s->entry = keys + OLD_KEYS_INDICES + size * (size <= 0xff ? 1 : size <= 0xffff ? 2 : 4) + 8;
	} else {
		u64 sizes = read_user(keys + KEYS_SIZES);

		s->left = read_user(keys + KEYS_COUNT);
		s->entry = keys + KEYS_INDICES + (1ULL << (sizes >> 8 & 31));
		if (sizes >> 16 & 0xff) /* entries have no hash */
			s->size = 16;
		else
			s->entry += 8;
	}
	for (int i = 0; i < SCOPE_KEYS_CALLS; i++)
		if (!scope_keys(slot))
			break;
	return s->event.path.size != 0;
}

/* Looks at an argument, and if it is asked for at the fields of an object there. Returns nonzero if it tells
 * of a request. */
__noinline int scope_argument(u32 slot, u64 value, u32 fields)
{
	struct scope_search *s = bpf_map_lookup_elem(&scope_scratch, &slot);
	struct target *t = s ? find_target(s->event.event.pid) : NULL;

	if (!t)
		return 0;
	u64 type;

	value = in_cell(t, value, &type);
	if (!type || !t->py_types.dict || type == t->py_types.text)
		return 0;
	if (type == t->py_types.dict)
		return scope_dict(slot, value);
	if (!fields)
		return 0;
	u64 size = read_user(own(t, type) + TYPE_SIZE), first = own(t, 0);

	for (u32 i = 0; i < SCOPE_FIELDS; i++) {
		if (first + 8 * i + 8 > size)
			break;
		u64 field = read_user(value + first + 8 * i);

		if (field && !(field & 7) && type_of(t, field) == t->py_types.dict && scope_dict(slot, field))
			return 1;
	}
	return 0;
}

/* Tells for which request a function was called, if its first arguments do; coroutine: which it is, 0: none.
 */
__noinline int tell_scope(u32 slot, u64 frame, u64 code, u64 coroutine)
{
	struct scope_search *s = bpf_map_lookup_elem(&scope_scratch, &slot);
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);
	struct target *t = walked(w);

	if (!s || !t)
		return 0;
	u32 locals = py_locals(t, code);

	s->event.event = w->event.event;
	s->event.event.kind = EVENT_SCOPE;
	s->event.coroutine = coroutine;
	s->dicts = 0;
	for (u32 i = 0; i < SCOPE_ARGS; i++) {
		if (i >= locals)
			break;
		u64 value = py_local(t, frame, i);

		if (!value || !scope_argument(slot, value, coroutine != 0))
			continue;
		if (bpf_ringbuf_output(&events, &s->event, sizeof(s->event), BPF_RB_NO_WAKEUP))
			count_loss(LOSS_RING_STACK);
		return 1;
	}
	return 0;
}

/* Tells for which request the outermost functions of the stack that was walked were called. */
__noinline int tell_thread_scope(u32 slot)
{
	struct walk *w = bpf_map_lookup_elem(&scratch, &slot);

	if (!w)
		return 0;
	for (u32 i = 1; i <= SCOPE_FRAMES; i++) {
		u32 at = w->event.depth - i;

		FORGET(at);
		if (at >= FRAMES_LEAF)
			return 0;
		struct frame *f = &w->event.frames[at];

		if (f->code && tell_scope(slot, f->address, f->code & CODE_ADDRESS, 0))
			return 0;
	}
	return 0;
}

/* Tells for which request a coroutine was called. */
static __always_inline void tell_task_scope(struct target *t, u64 coroutine, u32 slot)
{
	u64 frame = coroutine + t->py.gen_frame;

	if (t->py.frame_owner == NO_OFFSET)
		frame = read_user(frame);
	if (frame)
		tell_scope(slot, frame, read_user(frame + t->py.frame_code) & CODE_ADDRESS, coroutine);
}

#endif
