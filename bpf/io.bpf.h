/*
 * The event in the making that tells of bytes which pass through a connection, wherever they are seen: in a
 * socket's calls or in those of a TLS library. 5.10.
 */
#ifndef APM_IO_H
#define APM_IO_H

#include "connection.bpf.h"

#define IOVECS 8 /* of a vectored call that are looked at */

/* An event in the making. The steps are global functions, which are verified once; this is their state. */
struct io {
	u64 base;   /* in the target: bytes, or iovecs if count */
	u64 length; /* bytes to keep from */
	u64 end;    /* where the last byte of a vectored call lies; 0: not known */
	u64 vector; /* iovecs of what has yet to be sent in parts */
	u64 room;   /* bytes of it at base */
	u64 left;   /* bytes of it */
	u64 hidden; /* bytes of DATA that follow in the part, and are not kept */
	u32 count;
	u32 pad;
	struct frames frames; /* of the direction */
	u64 opens;	      /* a connection in the making … */
	struct conn fresh;    /* … and what it will be */
	u8 g[64];	      /* of a runtime.g, read at once: a read costs more than what it copies */
	struct io_event event;
};

/* One for each context that can interrupt another, as with walks. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_SLOTS);
	__type(key, u32);
	__type(value, struct io);
} io_scratch SEC(".maps");

struct iovec {
	u64 base;
	u64 length;
};

/* Where the bytes of a call lie in the target. */
struct buffers {
	u64 base;   /* a buffer, or an array of iovec */
	u32 count;  /* iovecs; 0: a buffer; unknown if base is 0 */
	u32 peeked; /* MSG_PEEK */
	u64 asked;  /* bytes that a write was given; 0: not known */
	u64 first;  /* the first eight bytes of what was read, as one little-endian number */
};

static __always_inline struct io *begin_io(u32 kind, u64 connection, u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);
	u64 id = bpf_get_current_pid_tgid();

	if (!io)
		return NULL;
	struct io_event *e = &io->event;

	stamp(&e->event, kind, id >> 32, id);
	e->connection = connection;
	e->goroutine = 0;
	e->g = 0;
	e->ran = 0;
	e->length = 0;
	e->head = 0;
	e->tail = 0;
	return io;
}

/* Sends the event. Returns nonzero if it was lost, which is counted. */
__noinline int io_send(u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io)
		return 1;
	struct io_event *e = &io->event;
	u64 size = __builtin_offsetof(struct io_event, data) + e->head + e->tail;
	u32 first = IO_BEGINS | IO_SAMPLED;
	u64 flags = (e->flags & first) == first ? wakeup_flags() : BPF_RB_NO_WAKEUP;

	if (size > sizeof(*e))
		return 1;
	if (!bpf_ringbuf_output(&events, e, size, flags))
		return 0;
	count_loss(LOSS_RING_IO);
	return 1;
}

/* Appends the beginning of io.length bytes at io.base to the event's data, up to limit. */
__noinline int io_keep(u32 limit, u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io)
		return 0;
	u32 at = io->event.head;

	if (limit > IO_HEAD)
		limit = IO_HEAD;
	if (at >= limit)
		return 0;
	u32 size = io->length < limit - at ? io->length : limit - at;

	FORGET(at); /* else the compiler drops the checks that the verifier needs, up to 6.7 for at too */
	FORGET(size);
	if (at >= IO_HEAD || !size || size > IO_HEAD)
		return 0;
	if (bpf_probe_read_user(io->event.data + at, size, (void *)io->base)) {
		count_loss(LOSS_DATA);
		return 0;
	}
	io->event.head = at + size;
	return 0;
}

/* The same for a vectored call. Sets io.end. */
__noinline int io_keep_vector(u32 limit, u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io)
		return 0;
	u64 vector = io->base, left = io->length, end = 0;

	for (u32 i = 0; i < IOVECS; i++) {
		struct iovec v;

		if (i >= io->count || !left ||
		    bpf_probe_read_user(&v, sizeof(v), (void *)(vector + i * sizeof(v))))
			break;
		if (v.length > left)
			v.length = left;
		left -= v.length;
		io->base = v.base;
		io->length = v.length;
		io_keep(limit, slot);
		end = v.length < IO_TAIL ? 0
					 : v.base + v.length; /* the last bytes may span two: not worth it */
	}
	io->end = left ? 0 : end;
	return 0;
}

static __always_inline void keep_tail(struct io_event *e, u64 address)
{
	u32 at = e->head;

	if (at > IO_HEAD)
		return;
	if (!bpf_probe_read_user(e->data + at, IO_TAIL, (void *)address))
		e->tail = IO_TAIL;
}

/* Sends an event, one of several of a call, and begins the next. */
static __always_inline void send_part(struct io *io, u64 length, u32 slot)
{
	io->event.length = length;
	int lost = io_send(slot);

	io->event.flags &= ~(IO_BEGINS | IO_MISSED);
	if (lost)
		io->event.flags |= IO_MISSED;
	io->event.head = 0;
	io->event.tail = 0;
}

#endif
