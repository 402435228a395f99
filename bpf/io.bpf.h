/*
 * What the agent is told of the bytes that pass through a connection, wherever they are seen: in a socket's
 * calls or in those of a TLS library. Nothing is parsed here but the first byte; internal/http1 is the
 * authority on where a request begins and ends. 5.10.
 */
#ifndef APM_IO_H
#define APM_IO_H

#include "connection.bpf.h"
#include "stack.bpf.h"

#define HEAD_SEGMENTS 16	  /* of IO_HEAD bytes: as much of a request is kept */
#define ANSWER_SEGMENTS 4	  /* of an answer's head in one write */
#define ANSWER_KEPT (4 * IO_HEAD) /* of an answer, before only the beginnings of writes are */
#define LATER_HEAD 64		  /* bytes of those beginnings: a chunk's size */
#define FRAME_PARTS 128		  /* of a call of HTTP/2 */
#define PART_FRAMES 64		  /* of a part */
#define IOVECS 8		  /* of a vectored call that are looked at */
#define STACK_AFTER_NS 1000000	  /* answers younger than this need no stack at their first write */

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
	struct conn fresh;    /* a connection in the making */
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

/* Looks at the first bytes of what was read. Where fewer than eight are mapped, at one. */
static __always_inline void look(struct buffers *b)
{
	u64 address = b->count ? read_user(b->base) : b->base;

	if (!address || !bpf_probe_read_user(&b->first, sizeof(b->first), (void *)address))
		return;
	b->first = 0;
	if (bpf_probe_read_user(&b->first, 1, (void *)address))
		count_loss(LOSS_DATA);
}

/*
 * A packet of uWSGI's own protocol, which proxies speak with it: modifier 0, 16 bits of length, modifier 0,
 * then the length of the first variable's name, less than 256, and that name.
 */
static __always_inline bool is_uwsgi(u64 first)
{
	u8 name = first >> 48;

	return !(first & 0xff00ff0000ffULL) && name >= 'A' && name <= 'Z';
}

/* Frames of HTTP/2 (RFC 9113, 4.1, 6.1 and 6.2). Their first eight bytes are read as one little-endian
 * number. */
#define FRAME_HEADER 9
#define FRAME_KIND(first) ((u8)((first) >> 24))
#define FRAME_DATA 0
#define FRAME_HEADERS 1
#define FRAME_LAST 9 /* CONTINUATION */
#define FRAME_FLAGS(first) ((u8)((first) >> 32))
#define FLAG_END_STREAM 0x1
#define FLAG_END_HEADERS 0x4
#define FLAG_PADDED 0x8
#define FLAG_PRIORITY 0x20
#define FRAME_RESERVED (1ULL << 47)

#define PREFACE 24 /* bytes */

static __always_inline bool is_preface(u64 first)
{
	return (u32)first == ('P' | 'R' << 8 | 'I' << 16 | ' ' << 24);
}

/*
 * HTTP/2 begins with "PRI * HTTP/2.0" (RFC 9113, 3.4). Where that was not seen a read is taken for it that
 * begins with the whole head of a request, no longer than 64 KiB.
 */
static __always_inline bool is_http2(u64 first)
{
	if (is_preface(first))
		return true;
	return !(u8)first && FRAME_KIND(first) == FRAME_HEADERS && !(first & FRAME_RESERVED) &&
	       (FRAME_FLAGS(first) & ~(FLAG_END_STREAM | FLAG_PADDED | FLAG_PRIORITY)) == FLAG_END_HEADERS;
}

/* A request begins with a token (RFC 9110, 5.6.2), after empty lines at most, or is a packet or frame. */
static __always_inline bool may_begin_request(u64 first)
{
	u8 c = first;

	return c == '\r' || c == '\n' || (c > ' ' && c < 0x7f) ||
	       (!c && (is_uwsgi(first) || is_http2(first)));
}

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

/* Adds which request it belongs to, and how that fares. */
static __always_inline void add_request(struct io_event *e, struct conn *c, struct target *t)
{
	e->request = c->request;
	e->lost = t ? t->lost : 0;
	e->flags = (c->sampled ? IO_SAMPLED : 0) | (c->missed ? IO_MISSED : 0) | (c->framed ? IO_FRAMED : 0);
}

/* Reads a part of a runtime.g, if it is one. Returns nonzero if it could not be read. */
static __always_inline int read_g(struct io *io, struct target *t, u64 g)
{
	io->event.g = g;
	return bpf_probe_read_user(io->g, sizeof(io->g), (void *)(g + t->go.g_goid));
}

/*
 * Adds the goroutine that reads or writes. Go's code keeps its runtime.g in a register, C's does not: the one
 * that the connection is known for proves it.
 */
static __always_inline void add_goroutine(struct io *io, struct conn *c, struct target *t)
{
	struct pt_regs *regs = user_regs();
	u32 seq = t->go.g_tracking_seq - t->go.g_goid; /* follows goid closely in every version */
	u64 *goid = (u64 *)io->g;

	if (REGS_GO_G(regs) != c->g || read_g(io, t, c->g) || *goid != c->goroutine) {
		c->g = GO_CURRENT(t, regs);
		if (read_g(io, t, c->g))
			*goid = 0;
		c->goroutine = *goid;
	}
	io->event.goroutine = *goid;
	if (seq < sizeof(io->g))
		io->event.ran = io->g[seq];
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

/* More in a frame is not taken by any server that is known. */
#define FRAME_MAX (4 << 20)

static __always_inline u32 frame_size(u64 first)
{
	return (u32)(u8)first << 16 | (u32)(u8)(first >> 8) << 8 | (u8)(first >> 16);
}

/* Other bytes are seldom like a frame's header. */
static __always_inline bool may_be_frame(u64 first)
{
	u8 flags = FLAG_END_STREAM | FLAG_END_HEADERS | FLAG_PADDED | FLAG_PRIORITY;

	return FRAME_KIND(first) <= FRAME_LAST && !(FRAME_FLAGS(first) & ~flags) &&
	       !(first & FRAME_RESERVED) && frame_size(first) <= FRAME_MAX;
}

/*
 * Finds again where frames begin, if length bytes at address do with one of a stream that the client began,
 * whose number is odd, and another or nothing follows.
 */
static __always_inline void find_frames(struct frames *f, u64 address, u64 length)
{
	u64 first = read_user(address), size = FRAME_HEADER + frame_size(first);

	if (length < FRAME_HEADER || !may_be_frame(first) ||
	    !(read_user(address + FRAME_HEADER - 8) >> 56 & 1))
		return;
	if (size + sizeof(first) <= length && !may_be_frame(read_user(address + size)))
		return;
	*f = (struct frames){};
}

/* Takes what comes of a frame's header at address, room bytes at most. Returns how many that were. */
static __always_inline u32 take_header(struct frames *f, u64 address, u32 room)
{
	u64 bytes = 0;
	u32 have = f->have, size = FRAME_HEADER - have;

	if (size > room)
		size = room;
	f->have = have + size;
	if (have < sizeof(bytes)) {
		u32 some = size < sizeof(bytes) ? size : sizeof(bytes);

		FORGET(some);
		if (some > sizeof(bytes) || bpf_probe_read_user(&bytes, some, (void *)address))
			f->lost = 1;
		f->header |= bytes << (have * 8 & 63);
	}
	if (f->have < FRAME_HEADER)
		return size;
	if (!may_be_frame(f->header))
		f->lost = 1;
	f->left = frame_size(f->header);
	f->data = FRAME_KIND(f->header) == FRAME_DATA;
	f->header = 0;
	f->have = 0;
	return size;
}

/*
 * Adds a frame's header to the part of io.length bytes at io.base, after what it has room for of the payload
 * before. DATA for which there is none is left out: io.hidden. Returns 0 where the part ends.
 */
__noinline int io_frame(u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io)
		return 0;
	struct frames *f = &io->frames;
	u32 limit = io->room < IO_HEAD ? io->room : IO_HEAD, kept = io->length;

	if (kept >= limit)
		return 0;
	u32 some = limit - kept;

	if (!f->lost) {
		if (f->left > some && f->data) {
			io->hidden = f->left < io->room - kept ? f->left : io->room - kept;
			f->left -= io->hidden;
			return 0;
		}
		if (f->left < some)
			some = f->left;
		f->left -= some;
	}
	kept += some;
	if (kept < limit)
		kept += take_header(f, io->base + kept, limit - kept);
	io->length = kept;
	return 1;
}

/*
 * Sends the next part of io.left bytes, the next io.room of which lie at io.base and others where io.count
 * iovecs at io.vector say. Returns 0 where no more can be found.
 */
__noinline int io_part(u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);
	struct iovec v;

	if (!io || !io->left)
		return 0;
	if (!io->room) {
		if (!io->count || bpf_probe_read_user(&v, sizeof(v), (void *)io->vector))
			return 0;
		io->count--;
		io->vector += sizeof(v);
		io->base = v.base;
		io->room = v.length < io->left ? v.length : io->left;
		if (!io->room)
			return 1;
	}
	io->length = 0;
	io->hidden = 0;
	for (int i = 0; i < PART_FRAMES; i++)
		if (!io_frame(slot))
			break;
	u64 part = io->length + io->hidden;

	if (io->length)
		io_keep(IO_HEAD, slot);
	send_part(io, part, slot);
	io->base += part;
	io->room -= part;
	io->left -= part;
	return 1;
}

/*
 * Sends what passed on a connection of HTTP/2, where frames may begin anywhere: in parts, and of a long call
 * the end.
 */
static __always_inline void send_parts(struct io *io, struct conn *c, struct frames *f, struct buffers *b,
				       u64 length, u32 slot)
{
	io->frames = *f;
	io->base = b->base;
	io->vector = b->base;
	io->count = b->count;
	io->room = b->count ? 0 : length;
	io->left = b->base ? length : 0;
	if (f->lost && io->room && io->left)
		find_frames(&io->frames, b->base, length);
	for (int i = 0; i < FRAME_PARTS; i++)
		if (!io_part(slot))
			break;
	length = b->base ? io->left : length;
	if (b->base && io->room == length && length >= IO_TAIL)
		keep_tail(&io->event, io->base + length - IO_TAIL);
	if (length)
		send_part(io, length, slot);
	*f = io->frames;
	if (length > f->left)
		f->lost = 1;
	else
		f->left -= length;
	c->missed = (io->event.flags & IO_MISSED) != 0;
}

/* Sends what a read brought, as many events as it takes to keep the head whole. */
static __always_inline void send_received(struct io *io, struct conn *c, struct buffers *b, u64 length,
					  u32 slot)
{
	u64 address = b->base;

	if (b->count) {
		io->base = b->base;
		io->count = b->count;
		io->length = length;
		io_keep_vector(IO_HEAD, slot);
		io->event.length = length;
		c->kept_in += io->event.head;
		c->missed = io_send(slot) != 0;
		return;
	}
	for (int i = 0; i < HEAD_SEGMENTS && length; i++) {
		u64 part = length;

		io->event.head = 0;
		if (c->kept_in < HEAD_SEGMENTS * IO_HEAD && address) {
			io->base = address;
			io->length = length;
			io_keep(IO_HEAD, slot);
			if (io->event.head == IO_HEAD && i < HEAD_SEGMENTS - 1)
				part = IO_HEAD;
			c->kept_in += io->event.head;
		}
		io->event.length = part;
		c->missed = io_send(slot) != 0;
		io->event.flags &= ~IO_BEGINS;
		address += part;
		length -= part;
	}
}

static __always_inline u64 inode_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino);
}

static __always_inline void send_open(struct sock *sk, u64 connection)
{
	struct conn_event event = {.connection = connection};
	u64 id = bpf_get_current_pid_tgid();

	stamp(&event.event, EVENT_OPEN, id >> 32, id);
	event.family = family_of(sk);
	event.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	event.remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (event.family == AF_INET) {
		*(u32 *)event.local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		*(u32 *)event.remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	} else if (event.family == AF_INET6) {
		BPF_CORE_READ_INTO(&event.local, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
		BPF_CORE_READ_INTO(&event.remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	} else {
		event.inode = inode_of(sk);
	}
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP))
		count_loss(LOSS_RING_IO);
}

/*
 * Takes bytes that a target has read, the first ones of the connection if fresh. They must lie where the
 * buffers say.
 */
static __always_inline void take_received(u64 connection, struct conn *c, struct target *t, struct buffers *b,
					  u64 length, bool fresh, u32 slot)
{
	struct io *io = begin_io(EVENT_RECV, connection, slot);
	u32 begins = 0;

	if (!io)
		return;
	struct io_event *e = &io->event;

	if (c->answering && !b->first)
		look(b);
	if (!c->framed && c->answering && is_http2(b->first)) { /* also after Upgrade: h2c */
		c->framed = 1;
		c->in.left = is_preface(b->first) ? PREFACE : 0;
	}
	if (c->framed ? !is_open(connection, c->request) : c->answering && may_begin_request(b->first)) {
		begin_request(c, connection, t, e->event.pid, e->event.time);
		begins = IO_BEGINS;
	}
	add_request(e, c, t);
	e->flags |= begins;
	if (t->runtime == RUNTIME_GO) {
		add_goroutine(io, c, t);
		if (fresh)
			go_serves(e->event.pid, e->goroutine, 0);
	}
	if (c->framed)
		send_parts(io, c, &c->in, b, length, slot);
	else
		send_received(io, c, b, length, slot);
}

/* 1xx is not the answer yet: "HTTP/1.1 1". */
static __always_inline bool is_interim(struct io_event *e)
{
	return e->head >= 10 && e->data[0] == 'H' && e->data[8] == ' ' && e->data[9] == '1';
}

/* Keeps the beginning and the end of what was written. */
static __always_inline void keep_sent(struct io *io, struct conn *c, struct buffers *b, u64 length, u32 slot)
{
	u32 limit = c->kept_out < ANSWER_KEPT ? IO_HEAD : LATER_HEAD;

	io->base = b->base;
	io->count = b->count;
	io->length = length;
	io->end = b->base ? b->base + length : 0;
	if (b->count)
		io_keep_vector(limit, slot);
	else if (b->base)
		io_keep(limit, slot);
	c->kept_out += io->event.head;
	if (io->end && length >= io->event.head + IO_TAIL)
		keep_tail(&io->event, io->end - IO_TAIL);
}

/* Does a head end in the bytes that are kept: at an empty line? */
__noinline int io_ends_head(u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);
	u32 last = 0;

	if (!io)
		return 1;
	for (u32 i = 0; i < IO_HEAD; i++) {
		last = last << 8 | io->event.data[i];
		if ((last & 0xffffff) == ('\n' << 16 | '\r' << 8 | '\n') ||
		    (last & 0xffff) == ('\n' << 8 | '\n'))
			return 1;
	}
	return 0;
}

/* Sends the parts of an answer's head that fill an event, until it ends; what is left is kept as in
 * keep_sent. */
static __always_inline void send_long_head(struct io *io, struct conn *c, struct buffers *b, s64 length,
					   u32 slot)
{
	struct buffers rest = *b;

	for (int i = 0; i < ANSWER_SEGMENTS - 1; i++) {
		if (length <= IO_HEAD || io->event.head < IO_HEAD || io_ends_head(slot))
			return;
		io->event.length = IO_HEAD;
		io->event.tail = 0;
		if (io_send(slot))
			c->missed = 1;
		rest.base += IO_HEAD;
		length -= IO_HEAD;
		io->event.head = 0;
		io->event.length = length;
		keep_sent(io, c, &rest, length, slot);
	}
}

/* For how many answers it is looked at what functions are called with. */
enum scopes_for {
	SCOPES_FIRST = 64, /* of a new target: answers do not tell of their lanes in every server … */
	SCOPES_FOR = 4096, /* … and more since one did not */
};

/*
 * The stack with which an answer is begun: its lane served the request, unless it is none of Python's, or the
 * event loop's own.
 */
static __always_inline void send_writer(struct target *t, u64 connection, u64 time, u32 slot)
{
	u64 id = bpf_get_current_pid_tgid();
	struct walk *w = begin_stack(slot, EVENT_WRITE, id >> 32, id);

	if (!w)
		return;
	w->event.object = connection;
	w->event.event.time = time;
	py_walk(w, t, slot);
	send_frames(w, t);
	if (w->event.status == STACK_NO_THREAD || (t->lanes & LANES_TASKS && !runs_coroutine(slot)))
		t->scopes = SCOPES_FOR;
	else if (t->scopes)
		t->scopes--;
}

/* Does what is kept of a write end like a chunk (RFC 9112, 7.1), and not like the last one? */
static __always_inline bool ends_chunk(struct io_event *e)
{
	u32 end = e->head + e->tail;

	FORGET(end);
	if (end < 4 || end > IO_HEAD + IO_TAIL)
		return false;
	if (e->data[end - 1] != '\n' || e->data[end - 2] != '\r')
		return false;
	return e->data[end - 3] != '\n' || e->data[end - 4] != '\r';
}

/* Goroutines of Go are to be looked at as long as an answer goes on, as far as its writes show that. */
static __always_inline void go_answers(struct io_event *e, struct conn *c, struct buffers *b)
{
	if (b->asked > (u64)e->length)
		e->flags |= IO_SHORT;
	if (ends_chunk(e))
		e->flags |= IO_CHUNK;
	if (!(e->flags & (IO_SHORT | IO_CHUNK)))
		end_waiting(c);
	else if (is_open(e->connection, c->request))
		begin_waiting(c);
}

/* Takes bytes that a target has written, or an error: length is negative then. */
static __always_inline void take_sent(u64 connection, struct conn *c, struct target *t, struct buffers *b,
				      s64 length, u32 slot)
{
	struct io *io = begin_io(EVENT_SEND, connection, slot);

	if (!io)
		return;
	struct io_event *e = &io->event;

	add_request(e, c, t);
	e->length = length;
	if (length > 0 && !c->framed)
		keep_sent(io, c, b, length, slot);
	if (t && t->runtime == RUNTIME_GO)
		add_goroutine(io, c, t);
	if (!c->answering && !is_interim(e)) {
		c->answering = 1;
		end_waiting(c);
		if (c->sampled && t && t->runtime == RUNTIME_PYTHON &&
		    (t->lanes || t->scopes || e->event.time - c->request > STACK_AFTER_NS))
			send_writer(t, connection, e->event.time, slot);
		if (!c->framed && b->base && !b->count)
			send_long_head(io, c, b, length, slot);
	}
	if (c->answering && length > 0 && !c->framed && t && t->runtime == RUNTIME_GO)
		go_answers(e, c, b);
	if (length > 0 && c->framed)
		send_parts(io, c, &c->out, b, length, slot);
	else
		c->missed = io_send(slot) != 0;
}

#endif
