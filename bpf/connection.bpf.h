/*
 * The connections of targets and the requests that are open on them: which get stacks, and when the gate
 * opens and closes. Connections are named by their struct sock: descriptors are reused too fast. 5.10.
 */
#ifndef APM_CONNECTION_H
#define APM_CONNECTION_H

#include "go.bpf.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_MPTCP 262
#define TCP_ESTABLISHED 1
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8

/* Where frames of HTTP/2 begin in what passes in one direction. */
struct frames {
	u64 header; /* bytes of the next frame's header that have passed, the first one lowest, … */
	u32 left;   /* bytes of the current frame's payload to come */
	u8 have;    /* … how many */
	u8 data;    /* the current frame is DATA */
	u8 lost;    /* that is not known */
	u8 pad;
};

struct conn {
	u64 request; /* time of the read that began the last request */
	u32 pid;
	u32 kept_in; /* bytes of the request and the answer that were sent to the agent */
	u32 kept_out;
	u8 answering; /* a final answer was begun */
	u8 sampled;
	u8 missed; /* an event could not be sent */
	u8 framed; /* HTTP/2: the agent tells the ends of its requests */
	u8 slow;   /* counts among the slow requests */
	u8 tls;	   /* its sockets' bytes are encrypted */
	u8 unseen; /* reads of TLS data whose clear bytes nobody saw */
	u8 pad;
	u32 reader; /* thread that read the beginning of the last request */
	u64 object; /* of the TLS library, through which its bytes pass; 0: not known */
	u64 write;  /* where the bytes lie that it was given last, in Go */
	u64 length; /* how many; 0: the socket has taken them */
	u64 taken;  /* by the socket since, encrypted */
	u64 inode;  /* of a Unix socket, else 0 */
	u64 g;	    /* runtime.g of the goroutine that used it last, and its goid */
	u64 goroutine;
	struct frames in, out; /* if framed */
};

/*
 * struct sock -> connection of a target. Made at its first request, deleted when it ends; the agent
 * deletes those of Unix sockets, which end without an event. Large enough for a busy event loop.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, struct conn);
} conns SEC(".maps");

/* Whether a struct sock may be in conns: once it was it is for good, as several share a slot. Spares
 * everybody else's sockets a look there. */
#define CONN_SLOTS 65536
u8 conn_slots[CONN_SLOTS];

static __always_inline u32 conn_slot(u64 connection)
{
	u32 low;

	/* The verifier knows some connections for pointers, half of which is a number to it. */
	asm volatile("%0 = %1" : "=w"(low) : "w"((u32)connection));
	return low >> 8 & (CONN_SLOTS - 1);
}

static __always_inline struct conn *find_conn(u64 connection)
{
	return conn_slots[conn_slot(connection)] ? bpf_map_lookup_elem(&conns, &connection) : NULL;
}

struct open_request {
	u64 request;
	u32 pid;
	u32 pad;
};

/*
 * Connection -> open sampled request. Whoever deletes an entry, the next read here or the agent, lowers
 * the gate: exactly one of them does, on kernels without compare-and-exchange too (5.10).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, struct open_request);
} open_requests SEC(".maps");

struct listener {
	u32 net; /* namespace */
	u32 port;
};

/* Ports on which targets listen: only what was accepted there can carry requests. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct listener);
	__type(value, u8);
} listeners SEC(".maps");

struct ticket {
	u32 pid;
	u32 life; /* of the target, whose numbers begin anew with it */
	u64 number;
};

/* Numbers that requests of a process have drawn, so that two threads never draw the same. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ticket);
	__type(value, u8);
} tickets SEC(".maps");

static __always_inline u16 family_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_family);
}

static __always_inline u8 tcp_state(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state);
}

/* Multipath TCP: of a connection that the peer resets nothing tells when the server closes it. */
static __always_inline bool is_mptcp(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP;
}

/* The local port. A connection that was reset has no skc_num any more. */
static __always_inline u16 port_of(struct sock *sk)
{
	return __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
}

/*
 * Can requests arrive here: accepted by a listener of a target, and not closed by it. What came before the
 * peer reset a connection is read as any other, and so is what came with a SYN (RFC 7413).
 */
static __always_inline bool is_server_side(struct sock *sk)
{
	u16 family = family_of(sk);

	if (family == AF_UNIX) /* an accepted socket shares its listener's address; a client's has none */
		return BPF_CORE_READ((struct unix_sock *)sk, addr) != NULL;
	if ((family != AF_INET && family != AF_INET6) || BPF_CORE_READ(sk, sk_type) != SOCK_STREAM)
		return false;
	u8 state = tcp_state(sk);

	if (state != TCP_ESTABLISHED && state != TCP_SYN_RECV && state != TCP_CLOSE_WAIT &&
	    (state != TCP_CLOSE || is_mptcp(sk)))
		return false;
	struct listener key = {
	    .net = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum),
	    .port = port_of(sk),
	};
	return bpf_map_lookup_elem(&listeners, &key) != NULL;
}

/* Is this request the one of sample_every that gets stacks? */
__noinline int draw_sample(u32 pid)
{
	struct target *t = find_target(pid);
	u8 drawn = 1;

	if (!t)
		return false;
	struct ticket ticket = {.pid = pid, .life = t->life};
	u32 every = t->sample_every;

	for (int i = 0; i < 16; i++) {
		ticket.number = t->requests + i;
		if (!bpf_map_update_elem(&tickets, &ticket, &drawn, BPF_NOEXIST)) {
			t->requests = ticket.number + 1;
			return ticket.number % every == 0;
		}
	}
	/* A thread was slow to write the number back, and others have drawn all these. */
	t->requests = ticket.number + 1;
	return false;
}

/* Ends the sampling of a request, if it has not ended. */
static __always_inline void end_sampling(u64 connection, u64 request)
{
	struct open_request *open = bpf_map_lookup_elem(&open_requests, &connection);

	if (!open || open->request != request)
		return;
	u32 slot = open->pid % GATES;

	if (!bpf_map_delete_elem(&open_requests, &connection))
		__sync_fetch_and_add(&gates[slot], -1);
}

/*
 * Begins the sampling of a request. The entry of the one before is taken over, and the gate with it; should
 * the agent end that one just now, this one's stacks end too.
 */
static __always_inline bool begin_sampling(u64 connection, u32 pid, u64 now)
{
	struct open_request *open = bpf_map_lookup_elem(&open_requests, &connection);
	struct open_request fresh = {.request = now, .pid = pid};

	if (open && open->pid == pid) {
		open->request = now;
		return true;
	}
	if (open)
		end_sampling(connection, open->request);
	if (bpf_map_update_elem(&open_requests, &connection, &fresh, BPF_NOEXIST)) {
		count_loss(LOSS_REQUESTS);
		return false;
	}
	__sync_fetch_and_add(&gates[pid % GATES], 1);
	return true;
}

/* Whoever waited for this connection's answer does so no longer. */
static __always_inline void end_waiting(struct conn *c)
{
	if (!c->slow)
		return;
	c->slow = 0;
	slow_count(c->request, -1);
}

/* The agent is to look at goroutines if this connection's answer takes long. */
static __always_inline void begin_waiting(struct conn *c)
{
	if (c->slow)
		return;
	c->slow = 1;
	slow_count(c->request, 1);
}

static __always_inline bool is_open(u64 connection, u64 request)
{
	struct open_request *open = bpf_map_lookup_elem(&open_requests, &connection);

	return open && open->request == request;
}

static __always_inline void begin_request(struct conn *c, u64 connection, struct target *t, u32 pid, u64 now)
{
	u64 before = c->sampled ? c->request : 0;

	end_waiting(c);
	c->request = now;
	c->pid = pid;
	c->reader = bpf_get_current_pid_tgid();
	c->kept_in = 0;
	c->kept_out = 0;
	c->answering = 0;
	c->sampled = t->sample_every <= 1 || draw_sample(pid);
	if (!c->sampled) {
		end_sampling(connection, before);
		return;
	}
	c->sampled = begin_sampling(connection, pid, now);
	if (c->sampled && t->runtime == RUNTIME_GO && !c->framed) {
		begin_waiting(c);
		slow_check(now);
	}
}

/*
 * Run by the agent through BPF_PROG_TEST_RUN when it sees that a request has ended and its connection
 * stays open: the gate must not wait for the next one. args: connection, request.
 */
SEC("raw_tp")
int end_request(struct bpf_raw_tracepoint_args *ctx)
{
	end_sampling(ctx->args[0], ctx->args[1]);
	return 0;
}

#endif
