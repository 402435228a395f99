/*
 * What the agent is told of the bytes that a target reads and writes. Nothing is parsed here but the first
 * byte; internal/http1 is the authority on where a request begins and ends. 5.10.
 */
#ifndef APM_TRANSFER_H
#define APM_TRANSFER_H

#include "frames.bpf.h"
#include "stack.bpf.h"

#define HEAD_SEGMENTS 16	  /* of IO_HEAD bytes: as much of a request is kept */
#define ANSWER_SEGMENTS 4	  /* of an answer's head in one write */
#define ANSWER_KEPT (4 * IO_HEAD) /* of an answer, before only the beginnings of writes are */
#define LATER_HEAD 64		  /* bytes of those beginnings: a chunk's size */
#define STACK_AFTER_NS 1000000	  /* answers younger than this need no stack at their first write */

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

/* A request begins with a token (RFC 9110, 5.6.2), after empty lines at most, or is a packet or frame. */
static __always_inline bool may_begin_request(u64 first)
{
	u8 c = first;

	return c == '\r' || c == '\n' || (c > ' ' && c < 0x7f) ||
	       (!c && (is_uwsgi(first) || is_http2(first)));
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
	if (event.family != AF_UNIX) {
		event.local_port = port_of(sk);
		event.remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
		event.flags = tcp_state(sk) == TCP_CLOSE ? IO_PEER : 0;
	}
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

#define ENDS_A_CALL 64 /* bytes; the verifier goes through each */
#define HEAD_ENDS (1 << 24)

/* Looks for an empty line in the next ENDS_A_CALL bytes that are kept, after the last three. Returns these as
 * they are then, or HEAD_ENDS. */
__noinline u32 io_ends_head_some(u32 slot, u32 at, u32 last)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io || at >= IO_HEAD)
		return HEAD_ENDS;
	for (u32 i = 0; i < ENDS_A_CALL; i++) {
		last = (last << 8 | io->event.data[at + i]) & 0xffffff;
		if (last == ('\n' << 16 | '\r' << 8 | '\n') || (last & 0xffff) == ('\n' << 8 | '\n'))
			return HEAD_ENDS;
	}
	return last;
}

/* Does a head end in the bytes that are kept: at an empty line? */
__noinline int io_ends_head(u32 slot)
{
	u32 last = 0;

	for (u32 at = 0; at < IO_HEAD; at += ENDS_A_CALL) {
		last = io_ends_head_some(slot, at, last);
		if (last == HEAD_ENDS)
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
 * The stack with which an answer is begun, of which io tells: its lane served the request, unless it is none
 * of Python's, or the event loop's own. As a global function it is verified once, not for each way to get
 * there.
 */
__noinline int send_writer(u32 slot)
{
	u64 id = bpf_get_current_pid_tgid();
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);
	struct walk *w = begin_stack(slot, EVENT_WRITE, id >> 32, id);
	struct target *t = walked(w);

	if (!io || !t)
		return 0;
	w->event.object = io->event.connection;
	w->event.event.time = io->event.event.time;
	py_walk(w, t, slot);
	send_frames(w, t);
	if (w->event.status == STACK_NO_THREAD || (t->lanes & LANES_TASKS && !runs_coroutine(slot)))
		t->scopes = SCOPES_FOR;
	else if (t->scopes)
		t->scopes--;
	return 0;
}

#define GO_BUFFER 4096 /* bytes that net/http and fasthttp collect before they write any */

/*
 * Does what is kept of a write end like a chunk (RFC 9112, 7.1), and not like the last one? So does a head
 * that net/http writes ahead of the first: "Transfer-Encoding: chunked" comes last. A buffer that is full
 * ends anywhere in a chunk.
 */
static __always_inline bool ends_chunk(struct io_event *e)
{
	u32 end = e->head + e->tail;

	FORGET(end);
	if (end < 2 || end > IO_HEAD + IO_TAIL)
		return false;
	if (e->data[end - 1] != '\n' || e->data[end - 2] != '\r')
		return e->length == GO_BUFFER;
	if (end < 4) /* of a chunk that was longer than the buffer */
		return true;
	if (e->data[end - 3] != '\n' || e->data[end - 4] != '\r')
		return true;
	return end >= 7 && e->data[end - 5] == 'd' && e->data[end - 6] == 'e' && e->data[end - 7] == 'k';
}

/* Adds which goids the processor of a goroutine in a system call gives next: p.goidcache, p.goidcacheend. */
static __always_inline void add_goids(struct io_event *e, struct target *t, u64 g)
{
	u64 m = g ? read_user(g + t->go.g_m) : 0;
	u64 p = m ? read_user(m + t->go.m_oldp) : 0;

	if (p)
		bpf_probe_read_user(e->goids, sizeof(e->goids), (void *)(p + t->go.p_goidcache));
}

/* Goroutines of Go are to be looked at as long as an answer goes on, as far as its writes show that. */
static __always_inline void go_answers(struct io_event *e, struct conn *c, struct target *t,
				       struct buffers *b)
{
	if (b->asked > (u64)e->length)
		e->flags |= IO_SHORT;
	if (ends_chunk(e))
		e->flags |= IO_CHUNK;
	if (!(e->flags & (IO_SHORT | IO_CHUNK))) {
		end_waiting(c);
		add_goids(e, t, c->g);
	} else if (is_open(e->connection, c->request)) {
		begin_waiting(c);
	}
}

/*
 * May a write begin an answer? Where streams share a connection any may, and its stack must tell which task
 * or greenlet it is of.
 */
static __always_inline bool may_begin_answer(struct conn *c, struct target *t, bool first)
{
	return first || (c->framed && t->lanes & LANES_SHARE);
}

/*
 * Does it take the stack to tell which lane an answer that begins is of? A thread that soon answers what it
 * has read itself does so for itself, unless it runs tasks or greenlets.
 */
static __always_inline bool tells_lane(struct conn *c, struct target *t, u64 now)
{
	if (t->scopes || now - c->request > STACK_AFTER_NS || t->lanes & LANES_SHARE)
		return true;
	return t->lanes && c->reader != (u32)bpf_get_current_pid_tgid();
}

/* The target that answers what it has read; NULL: another process has it, and does. */
static __always_inline struct target *answers(struct conn *c)
{
	return c->pid == bpf_get_current_pid_tgid() >> 32 ? find_target(c->pid) : NULL;
}

/* Takes bytes that were written, by t if it is not NULL, or an error: length is negative then. */
static __always_inline void take_sent(u64 connection, struct conn *c, struct target *t, struct buffers *b,
				      s64 length, u32 slot)
{
	struct io *io = begin_io(EVENT_SEND, connection, slot);

	if (!io)
		return;
	struct io_event *e = &io->event;

	add_request(e, c, t);
	e->length = length;
	e->goids[0] = 0;
	if (length > 0 && !c->framed)
		keep_sent(io, c, b, length, slot);
	if (t && t->runtime == RUNTIME_GO)
		add_goroutine(io, c, t);
	bool first = !c->answering && !is_interim(e);

	if (c->sampled && t && t->runtime == RUNTIME_PYTHON && may_begin_answer(c, t, first) &&
	    tells_lane(c, t, e->event.time))
		send_writer(slot);
	if (first) {
		c->answering = 1;
		end_waiting(c);
		if (!c->framed && b->base && !b->count)
			send_long_head(io, c, b, length, slot);
	}
	if (c->answering && length > 0 && !c->framed && t && t->runtime == RUNTIME_GO)
		go_answers(e, c, t, b);
	if (length > 0 && c->framed)
		send_parts(io, c, &c->out, b, length, slot);
	else
		c->missed = io_send(slot) != 0;
}

#endif
