/*
 * TLS that ends in a target: its sockets carry what nobody can read, and its bytes are taken where they are
 * clear, at the TLS library, which need not know of sockets. The thread ties the two together: what it
 * receives inside a call of the library is that call's, and what it hands to the library after it has
 * received (asyncio) is what it received. Read by bpf/openssl.bpf.h. 5.10.
 */
#ifndef APM_TLS_H
#define APM_TLS_H

#include "transfer.bpf.h"

#define TLS_DOUBTFUL 1	 /* instead of a connection */
#define TLS_DATA 23	 /* application data */
#define TLS_DATA_READS 8 /* on a connection of which nothing is seen in clear, until the agent is told */
#define TLS_BYTES_MAX (1 << 30) /* of one call: the count is the target's to tell */

struct tls_thread {
	u64 received; /* connection that it has received from since it last called the library; 0: none */
	u64 object;   /* whose function it is in, 0: none */
	u64 buffer;   /* that this function fills or empties */
	u64 count_at; /* where it puts how many bytes passed, 0: it returns that */
};

struct tls_thread_key {
	u64 thread; /* its number, that of the goroutine in Go */
	u32 pid;
	u32 pad;
};

/* LRU, since both end unseen here. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct tls_thread_key);
	__type(value, struct tls_thread);
} tls_threads SEC(".maps");

struct tls_key {
	u64 object;
	u32 pid;
	u32 pad;
};

/* Object of the library -> connection, which must name the object in turn. LRU: what was freed unseen goes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tls_key);
	__type(value, u64);
} tls_objects SEC(".maps");

/* A record of any kind: alert, handshake, data, in SSL 3.0 or later (RFC 8446, 5.1). */
static __always_inline bool is_tls(u64 first)
{
	u8 type = first, version = first >> 8;

	return type >= 20 && type <= TLS_DATA && version == 3;
}

static __always_inline void tell_tls(u32 sight)
{
	u64 id = bpf_get_current_pid_tgid();

	send_thread_event(EVENT_TLS, id >> 32, id, sight, BPF_RB_FORCE_WAKEUP);
}

/*
 * Counts reads of data on a connection whose object is not known. A handshake has three such records at most,
 * then a server that can be seen calls its library.
 */
static __always_inline void count_unseen(struct conn *c, struct buffers *b)
{
	look(b);
	if ((u8)b->first == TLS_DATA && ++c->unseen == TLS_DATA_READS)
		tell_tls(TLS_UNSEEN);
}

/* A connection of a target turns out to carry TLS. */
static __always_inline void tls_seen(struct target *t)
{
	if (t->tls)
		return;
	t->tls = 1;
	tell_tls(TLS_FIRST);
}

static __always_inline struct tls_thread_key tls_thread_key(struct target *t)
{
	u64 id = bpf_get_current_pid_tgid();
	struct tls_thread_key key = {.thread = (u32)id, .pid = id >> 32};

	if (t->runtime == RUNTIME_GO)
		key.thread = must_read_user(GO_CURRENT(t, user_regs()) + t->go.g_goid);
	return key;
}

/* What is known of the current thread, made if it is not and make is set. */
static __always_inline struct tls_thread *tls_thread(struct target *t, bool make)
{
	struct tls_thread_key key = tls_thread_key(t);
	struct tls_thread *known = bpf_map_lookup_elem(&tls_threads, &key), fresh = {};

	if (known || !make)
		return known;
	bpf_map_update_elem(&tls_threads, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_threads, &key);
}

/* The connection whose bytes pass through an object of the current process; NULL: not known. */
static __always_inline struct conn *tls_connection(u64 object, u64 *connection)
{
	struct tls_key key = {.object = object, .pid = bpf_get_current_pid_tgid() >> 32};
	u64 *found = bpf_map_lookup_elem(&tls_objects, &key);
	struct conn *c;

	if (!found)
		return NULL;
	*connection = *found;
	c = bpf_map_lookup_elem(&conns, connection);
	return c && c->object == object ? c : NULL;
}

static __always_inline void tls_bind(u64 object, u64 connection, struct conn *c)
{
	struct tls_key key = {.object = object, .pid = bpf_get_current_pid_tgid() >> 32};

	if (!bpf_map_update_elem(&tls_objects, &key, &connection, BPF_ANY))
		c->object = object;
}

static __always_inline void tls_unbind(u64 object)
{
	struct tls_key key = {.object = object, .pid = bpf_get_current_pid_tgid() >> 32};
	u64 connection;
	struct conn *c = tls_connection(object, &connection);

	if (c)
		c->object = 0;
	bpf_map_delete_elem(&tls_objects, &key);
}

/*
 * The current thread calls the library for an object: what it has received before was for it, if neither is
 * known to belong elsewhere.
 */
static __always_inline void tls_claim(struct tls_thread *thread, u64 object)
{
	u64 connection = thread->received, other;
	struct conn *c;

	if (!connection)
		return;
	thread->received = 0;
	c = bpf_map_lookup_elem(&conns, &connection);
	if (c && c->tls && !c->object && !tls_connection(object, &other))
		tls_bind(object, connection, c);
}

static __always_inline bool is_claimed(u64 connection)
{
	struct conn *c = bpf_map_lookup_elem(&conns, &connection);

	return c && c->object;
}

/* The current thread receives; c is NULL unless from a connection that it serves. */
static __always_inline void tls_received(u64 connection, struct conn *c, struct target *t)
{
	bool tls = c && c->tls;

	if (tls && c->object && t->runtime == RUNTIME_GO)
		return; /* crypto/tls never lends a connection to another object */
	struct tls_thread *thread = tls_thread(t, tls);

	if (!thread)
		return;
	if (thread->object && !tls)
		tls_unbind(thread->object); /* its own connection to elsewhere */
	else if (thread->object && c->object != thread->object)
		tls_bind(thread->object, connection, c);
	else if (!tls)
		thread->received = 0;
	else if (!thread->object) {
		/* From two in a row, as trio does: which the next call is for cannot be told. */
		bool doubt =
		    thread->received && thread->received != connection && !is_claimed(thread->received);

		thread->received = doubt ? TLS_DOUBTFUL : connection;
	}
}

/* Takes the scratch of uprobes for bytes of a connection. */
static __always_inline bool claim_uprobe_io(struct conn *c)
{
	bool claimed = claim_uprobe(LOSS_RING_IO);

	if (!claimed)
		c->missed = c->in.lost = c->out.lost = 1;
	return claimed;
}

/* Takes bytes in clear that came by a connection. */
static __always_inline void take_clear(u64 connection, struct conn *c, struct target *t, u64 base, u64 length)
{
	struct buffers b = {.base = base};
	bool fresh = !c->request;

	if (fresh) {
		look(&b);
		if (!may_begin_request(b.first))
			return;
		send_open((struct sock *)connection, connection);
	}
	if (!claim_uprobe_io(c))
		return;
	take_received(connection, c, t, &b, length, fresh, SCRATCH_UPROBE);
	release_uprobe();
}

#endif
