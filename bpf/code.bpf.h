/*
 * Names of Python's code objects. Each is told when it is first seen in a stack, since it may be freed and
 * its address used by another before the agent could look; a uprobe on the destructor of code objects notes
 * that one has gone. So a stack needs to carry addresses only, and no name is ever another's. Read by
 * cmd/apm-ebpf. 5.10.
 */
#ifndef APM_CODE_H
#define APM_CODE_H

#include "target.bpf.h"

/*
 * The code object at an address of a process, by a hash of both. Others that share the slot are told again
 * and again, hence many slots. Nothing is deleted: what is new in a slot takes it over.
 */
struct code_slot {
	u64 code;    /* that was told; CODE_OF_COROUTINE and CODE_TELLS in the lowest bits */
	u64 process; /* whose it is: see code_owner; mixed with what it said where its end goes unseen */
	u32 freed;   /* how many code objects of this slot are gone, or may be; its lower half is the mark */
	u32 then;    /* freed when the code object was told */
};

/* PyASCIIObject.state from kind on (CPython Include/cpython/unicodeobject.h). */
#define TEXT_KIND 7 /* bytes a character */
#define TEXT_ASCII (1 << 4)
#define TEXT_BYTES (1 | 1 << 3) /* one byte a character, compact */

#define CODE_OF_COROUTINE 1ULL
#define CODE_TELLS 2ULL	    /* its frames have more to tell than their addresses */
#define CO_COROUTINES 0x180 /* CO_COROUTINE, CO_ITERABLE_COROUTINE (CPython Include/cpython/code.h) */

#define CODE_SLOT_BITS 15
struct code_slot code_slots[1 << CODE_SLOT_BITS];

/* Do code objects of a target end unseen? Then each is read whenever it is met, and told if it is another. */
static __always_inline bool is_blind(struct target *t)
{
	return t->life & LIFE_BLIND;
}

/* Whose a code object is that need not be read; 0: there are none such. */
static __always_inline u64 code_owner(struct target *t, u32 pid)
{
	return is_blind(t) ? 0 : (u64)pid << 32 | t->life;
}

static __always_inline u32 code_hash(u32 pid, u64 code)
{
	return (code >> 3 ^ (u64)pid << 45) * 0x9e3779b97f4a7c15ULL >> (64 - CODE_SLOT_BITS);
}

static __always_inline struct code_slot *code_slot(u32 pid, u64 code)
{
	return &code_slots[code_hash(pid, code) & ((1 << CODE_SLOT_BITS) - 1)];
}

/* One for each context that can interrupt another, as with walks. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
	__type(key, u32);
	__type(value, struct code_event);
} code_scratch SEC(".maps");

/* The type of an object; 0: none, or it could not be read. */
static __always_inline u64 type_of(struct target *t, u64 object)
{
	return object ? read_user(object + t->py.object_type) : 0;
}

/* Where an object has its own fields, behind its head. */
static __always_inline u64 own(struct target *t, u64 object)
{
	return object + t->py.object_type + 8;
}

static __always_inline u64 own_field(struct target *t, u64 object)
{
	return read_user(own(t, object));
}

/* What a variable holds, through the cell that it is if a closure uses it too, and the type of that. */
static __always_inline u64 in_cell(struct target *t, u64 value, u64 *type)
{
	*type = type_of(t, value);
	if (*type && *type == t->py_types.cell) {
		value = own_field(t, value);
		*type = type_of(t, value);
	}
	return value;
}

/* Is an object of another type than it must be? One that can't be read may be of any. told is room for it. */
static __always_inline bool is_other(struct target *t, u64 object, u64 type, u64 *told)
{
	*told = type;
	bpf_probe_read_user(told, sizeof(*told), (void *)(object + t->py.object_type));
	return *told != type;
}

/* Reads the beginning of a str object. What can't be read now the agent may still read. */
static __always_inline void read_text(struct target *t, struct text *text)
{
	u64 size, address = text->address, at = address + t->py.str_compact;

	text->length = 0;
	text->state = 0;
	text->size = 0;
	if (bpf_probe_read_user(&text->length, sizeof(text->length), (void *)(address + t->py.str_length)) ||
	    bpf_probe_read_user(&text->state, sizeof(text->state), (void *)(address + t->py.str_state)))
		return;
	u32 kind = text->state >> (t->py.str_kind & 31);

	if (kind & TEXT_ASCII)
		at = address + t->py.str_ascii;
	size = text->length * (kind & TEXT_KIND);
	if (size > TEXT_MAX)
		size = TEXT_MAX;
	FORGET(size);
	if (size <= TEXT_MAX && !bpf_probe_read_user(text->data, size, (void *)at))
		text->size = size;
}

/* The 8 bytes of a C string, as one load brings them. */
#define EIGHT(text) (*(const u64 *)(text))

/*
 * Is it concurrent.futures' _WorkItem.run, whose first local is a job? Up to 3.10 a code object's name is
 * plain. 3.14 has another run in this file.
 */
static __always_inline bool runs_jobs(struct target *t, struct code_event *e)
{
	u64 end = e->file.address + t->py.str_ascii + e->file.length; /* of .../futures/thread.py */
	u64 name = *(u64 *)e->name.data;
	bool run = e->name.length == 3 && (name & 0xffffff) == ('r' | 'u' << 8 | 'n' << 16);
	bool method = e->name.length == 13 && name == EIGHT("_WorkIte");

	return (run || method) && read_user(end - 17) == EIGHT("futures/") &&
	       read_user(end - 9) == EIGHT("thread.p");
}

/* Is it concurrent.futures' _worker, which takes jobs that stacks tell of? */
static __always_inline bool is_worker(struct target *t, struct code_event *e)
{
	u64 end = e->file.address + t->py.str_ascii + e->file.length;

	return e->name.length == 7 && (*(u64 *)e->name.data & 0xffffffffffffff) == EIGHT("_worker") &&
	       read_user(end - 17) == EIGHT("futures/") && read_user(end - 9) == EIGHT("thread.p");
}

static __always_inline bool is_digit(u8 c)
{
	return c >= '0' && c <= '9';
}

/*
 * Is it a method of queue.Queue? name: the last four letters. Others have such queues for their connections
 * (SQLAlchemy), whose threads work for nobody who has put one back. The standard library lies in
 * lib/python3.13, lib/python3.13t or python313.zip.
 */
static __always_inline bool is_queues(struct target *t, struct code_event *e, const char *name)
{
	u64 end = e->file.address + t->py.str_ascii + e->file.length;
	u32 plain = *(u32 *)e->name.data, qualified = *(u32 *)(e->name.data + 6), want = *(const u32 *)name;
	bool method =
	    e->name.length == 10 && *(u32 *)e->name.data == *(const u32 *)"Queu" && qualified == want;

	if (!((e->name.length == 4 && plain == want) || method) || read_user(end - 8) != EIGHT("queue.py"))
		return false;
	u64 dir = read_user(end - 16);
	u8 slash = dir >> 56, last = dir >> 48, before = dir >> 40;

	return e->file.length == 8 ||
	       (slash == '/' && (is_digit(last) || last == 'p' || (last == 't' && is_digit(before))));
}

/*
 * Is it _PySimpleQueue.put? queue.Queue has another put, which fills no deque itself: up to 3.10 either may
 * be taken for the other.
 */
static __always_inline bool is_simple_put(struct target *t, struct code_event *e)
{
	u64 end = e->file.address + t->py.str_ascii + e->file.length, name = *(u64 *)e->name.data;
	bool plain = e->name.length == 3 && (name & 0xffffff) == ('p' | 'u' << 8 | 't' << 16);
	bool method = e->name.length == 18 && name == EIGHT("_PySimpl") &&
		      *(u64 *)(e->name.data + 10) == EIGHT("ueue.put");

	return (plain || method) && read_user(end - 9) == EIGHT("/queue.p");
}

/*
 * Is it asgiref's AsyncToSync.__call__, in which a thread waits for a coroutine that its event loop's thread
 * runs? The other __call__ of that file is one itself.
 */
static __always_inline bool is_bridge(struct target *t, struct code_event *e)
{
	u64 end = e->file.address + t->py.str_ascii + e->file.length;
	bool plain = e->name.length == 8 && *(u64 *)e->name.data == EIGHT("__call__");
	bool method = e->name.length == 20 && *(u64 *)e->name.data == EIGHT("AsyncToS") &&
		      *(u64 *)(e->name.data + 12) == EIGHT("__call__");

	return (plain || method) && !(e->flags & CO_COROUTINES) && read_user(end - 8) == EIGHT("/sync.py") &&
	       read_user(end - 15) == EIGHT("asgiref/");
}

/*
 * Notes of what asyncio.run_coroutine_threadsafe is made: the function itself, the callback in it that makes
 * the task on the event loop's thread, and Future.result, in which its caller may wait. Up to 3.10 names are
 * plain.
 */
static __always_inline bool note_hand_over(struct target *t, struct code_event *e, u64 code)
{
	u64 end = e->file.address + t->py.str_ascii + e->file.length, length = e->name.length;
	u64 begins = *(u64 *)e->name.data;
	bool future = (length == 13 && begins == EIGHT("Future.r") &&
		       *(u64 *)(e->name.data + 5) == EIGHT("e.result")) ||
		      (length == 6 && (begins & 0xffffffffffff) == (EIGHT("result\0") & 0xffffffffffff));
	bool function =
	    length == 24 && begins == EIGHT("run_coro") && *(u64 *)(e->name.data + 16) == EIGHT("readsafe");
	bool callback = (length == 42 && begins == EIGHT("run_coro") &&
			 *(u64 *)(e->name.data + 34) == EIGHT("callback")) ||
			(length == 8 && begins == EIGHT("callback"));

	if (!future && !function && !callback)
		return false;
	u64 module = read_user(end - 16), file = read_user(end - 8);

	if (future && module == EIGHT("futures/") && file == EIGHT("_base.py")) {
		t->result = code;
		return true;
	}
	if (future || module != EIGHT("asyncio/") || file != EIGHT("tasks.py"))
		return false;
	if (function)
		t->hands_over = code;
	else
		t->callback = code;
	return true;
}

enum says {
	SAYS_NOTHING, /* it has been overwritten: no name is better than nonsense */
	SAYS_PART = 2,
	SAYS_ALL = 1, /* with a hash of all of it in the other bits */
};

#define MIX 0x9e3779b97f4a7c15ULL

static __always_inline u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * MIX;
	return hash ^ hash >> 29;
}

/* A hash of what was read of a text. */
static __always_inline u64 mix_text(u64 hash, struct text *text)
{
	u32 words = text->size / 8, odd = text->size % 8;

	hash = (hash ^ text->length ^ (u64)text->state << 32) * MIX;
	for (u32 i = 0; i < TEXT_MAX / 8 && i < words; i++)
		hash = mix(hash, *(u64 *)(text->data + 8 * i));
	if (!odd)
		return hash;
	return mix(hash, *(u64 *)(text->data + (8 * words & (TEXT_MAX - 8))) & ((1ULL << 8 * odd) - 1));
}

/* Was all of a text read? One that is as long as what is read of it may be longer. */
static __always_inline bool is_whole(struct text *text)
{
	return text->size && text->size < TEXT_MAX;
}

/*
 * Reads what a code object says of itself into the scratch, for tell_code. Returns enum says. Scalar
 * arguments, because 5.10 knows no others for global functions.
 */
__noinline u64 read_code(u64 code, u32 pid, u32 scratch)
{
	struct code_event *e = bpf_map_lookup_elem(&code_scratch, &scratch);
	struct target *t = find_target(pid);

	if (!e || !t)
		return SAYS_NOTHING;
	e->flags = 0;
	e->first_line = 0;
	e->pad = 0;
	/* All is read into the event: the stacks of functions that call each other have 512 bytes together.
	 */
	if (bpf_probe_read_user(&e->flags, sizeof(e->flags), (void *)(code + t->py.code_flags)) ||
	    bpf_probe_read_user(&e->first_line, sizeof(e->first_line),
				(void *)(code + t->py.code_first_line)) ||
	    bpf_probe_read_user(&e->name.address, sizeof(u64), (void *)(code + t->py.code_name)) ||
	    bpf_probe_read_user(&e->file.address, sizeof(u64), (void *)(code + t->py.code_file)))
		e->name.address = e->file.address = 0; /* the agent may still read all of it */
	if (is_other(t, code, t->py_types.code, &e->name.length) ||
	    (e->name.address && is_other(t, e->name.address, t->py_types.text, &e->name.length)) ||
	    (e->file.address && is_other(t, e->file.address, t->py_types.text, &e->file.length)))
		return SAYS_NOTHING;
	read_text(t, &e->name);
	read_text(t, &e->file);
	if (!is_blind(t) || !is_whole(&e->name) || !is_whole(&e->file))
		return SAYS_PART;
	return mix_text(mix_text((u64)e->flags << 32 | e->first_line, &e->name), &e->file) | SAYS_ALL;
}

/*
 * Tells the code object that was read last, ahead of the event of that time whose stack it is in. Returns its
 * mark. Where its end goes unseen each that is told has a mark of its own, and that of one that could not be
 * told stands for no name.
 */
__noinline int tell_code(u64 time, u64 code, u64 says, u32 pid, u32 scratch)
{
	struct code_event *e = bpf_map_lookup_elem(&code_scratch, &scratch);
	struct target *t = find_target(pid);
	struct code_slot *s = code_slot(pid, code);
	u32 freed = s->freed;

	if (!e || !t)
		return freed;
	u64 process = (u64)pid << 32 | t->life;

	if (is_blind(t)) {
		process ^= says & ~(u64)SAYS_ALL;
		if (says & SAYS_ALL &&
		    !(((s->code & CODE_ADDRESS) ^ code) | (s->process ^ process) | (s->then ^ freed)))
			return freed;
		__sync_fetch_and_add(&s->freed, 1);
		freed = s->freed;
	}
	if (says == SAYS_NOTHING)
		return freed;
	/* Requests and stacks must not be lost for the sake of names that are told every time. */
	if (says == SAYS_PART && is_blind(t) &&
	    bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >
		bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / 2) {
		count_loss(LOSS_RING_STACK);
		return freed;
	}
	e->event.time = time;
	e->event.kind = EVENT_CODE;
	e->event.pid = pid;
	e->event.tid = 0;
	e->event.pad = 0;
	e->code = code | (u64)freed << 48;
	e->slot = code_hash(pid, code);
	if (bpf_ringbuf_output(&events, e, sizeof(*e), BPF_RB_NO_WAKEUP)) {
		count_loss(LOSS_RING_STACK);
		return freed;
	}
	if (runs_jobs(t, e))
		t->runner = code;
	if (is_worker(t, e))
		t->worker = code;
	if (is_bridge(t, e))
		t->bridge = code;
	if (is_queues(t, e, "_put"))
		t->put = code;
	if (is_queues(t, e, "_get"))
		t->get = code;
	if (is_simple_put(t, e))
		t->simple = code;
	s->code = code | (e->flags & CO_COROUTINES ? CODE_OF_COROUTINE : 0) |
		  (note_hand_over(t, e, code) ? CODE_TELLS : 0);
	s->process = process;
	s->then = freed;
	return freed;
}

struct seen {
	u64 marked; /* the address of a code object with its mark, for a frame of the event */
	bool coroutine;
	bool tells; /* its frames have more to tell */
};

/* The agent knows the code object's name afterwards, unless what tells it was lost. */
static __always_inline struct seen seen_code(struct target *t, struct event *event, u64 code, u32 scratch)
{
	struct code_slot *s = code_slot(event->pid, code);
	u64 process = code_owner(t, event->pid), told = s->code;
	u32 freed = s->freed;

	/* One branch, for the verifier's sake. */
	if (((told & CODE_ADDRESS) ^ code) | (s->process ^ process) | (s->then ^ freed)) {
		u64 says = read_code(code, event->pid, scratch);

		freed = tell_code(event->time, code, says, event->pid, scratch);
		told = s->code;
	}
	return (struct seen){code | (u64)freed << 48, told & CODE_OF_COROUTINE, told & CODE_TELLS};
}

/* tp_dealloc of PyCode_Type: what the agent knows of this address holds no longer. */
SEC("uprobe")
int code_dealloc(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;

	if (find_target(pid))
		__sync_fetch_and_add(&code_slot(pid, UPROBE_ARG0(ctx))->freed, 1);
	return 0;
}

#endif
