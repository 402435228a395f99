/*
 * The sockets of targets: what is read and written, and when connections end. Hooks: sock_recv_length and
 * sock_send_length (6.3), sys_exit before that; ends by inet_sock_set_state and tcp_destroy_sock. Read by
 * internal/trace.
 */
#ifndef APM_REQUEST_H
#define APM_REQUEST_H

#include "tls.bpf.h"

#define TCP_LISTEN 10
#define MSG_PEEK 2
#define EAGAIN 11
#define S_IFSOCK 0140000

/* Where the bytes of the current system call lie. */
static __always_inline struct buffers find_buffers(void)
{
	struct pt_regs *regs = user_regs();
	struct buffers b = {};

	switch (REGS_SYSCALL(regs)) {
	case NR_RECVFROM:
		b.peeked = REGS_ARG3(regs) & MSG_PEEK;
	case NR_READ:
		b.base = REGS_ARG1(regs);
		break;
	case NR_WRITE:
	case NR_SENDTO:
		b.base = REGS_ARG1(regs);
		b.asked = REGS_ARG2(regs);
		break;
	case NR_SENDFILE:
		b.asked = REGS_ARG3(regs);
		break;
	case NR_READV:
	case NR_WRITEV:
		b.base = REGS_ARG1(regs);
		b.count = REGS_ARG2(regs);
		break;
	case NR_RECVMSG:
		b.peeked = REGS_ARG2(regs) & MSG_PEEK;
	case NR_SENDMSG:
		b.base = read_user(REGS_ARG1(regs) + 16); /* msg_iov, msg_iovlen of struct user_msghdr */
		b.count = read_user(REGS_ARG1(regs) + 24);
		break;
	}
	return b;
}

static __always_inline void forget(u64 connection, struct conn *c)
{
	end_sampling(connection, c->request);
	end_waiting(c);
	bpf_map_delete_elem(&conns, &connection);
}

#define PROXY_LINE 107	/* bytes at most, by the PROXY protocol's text (2.1) */
#define PROXY_HEADER 16 /* the binary one's, before as many as its last two say (2.2) */

/*
 * How many bytes of a read are the PROXY protocol's header, with which a load balancer tells who the client
 * is: all of it. 0: they begin with none, or not with the whole. A line that ends in a version is a
 * request's.
 */
__noinline u32 proxy_header(u64 address, u32 length)
{
	u32 slot = SCRATCH_SYSCALL, size = length < PROXY_LINE ? length : PROXY_LINE;
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io)
		return 0;
	u8 *text = io->event.data;

	FORGET(size);
	size &= 127;
	if (size < PROXY_HEADER || bpf_probe_read_user(text, size, (void *)address))
		return 0;
	if (text[0] == '\r') {
		u32 header = PROXY_HEADER + (text[PROXY_HEADER - 2] << 8 | text[PROXY_HEADER - 1]);

		return text[8] == 'U' && text[11] == '\n' && header <= length ? header : 0;
	}
	for (u32 i = 4; i < PROXY_LINE && i < size; i++)
		if (text[i] == '\n')
			return text[i - 3] == '.' ? 0 : i + 1;
	return 0;
}

#define PROXY_TEXT 0x00002059584f5250ULL /* "PROXY " */
#define PROXY_TEXT_MASK 0x0000ffffffffffffULL
#define PROXY_BINARY 0x510a0d000a0d0a0dULL /* the first eight bytes of the signature */

/* Passes over the PROXY protocol's header. Returns false where the read has nothing else. */
static __always_inline bool pass_proxy_header(struct buffers *b, s64 *length)
{
	if ((b->first & PROXY_TEXT_MASK) != PROXY_TEXT && b->first != PROXY_BINARY)
		return true;
	u32 header = proxy_header(b->count ? read_user(b->base) : b->base, *length);

	if (header == *length)
		return false;
	if (!header || b->count)
		return true;
	b->base += header;
	*length -= header;
	look(b);
	return true;
}

/* Enters the connection io.opens, whose first read begins so, if that may be a request: a function's argument
 * must not be what the verifier knows for a pointer. */
__noinline int enter_connection(u64 first, u64 length)
{
	u32 slot = SCRATCH_SYSCALL;
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);
	struct target *t = find_target(bpf_get_current_pid_tgid() >> 32);
	bool tls = length > 1 && is_tls(first);

	if (!io || !t || (!tls && !may_begin_request(first)))
		return 0;
	u64 connection = io->opens;
	struct sock *sk = (struct sock *)connection;
	struct conn *fresh = &io->fresh;

	*fresh = (struct conn){.answering = 1, .tls = tls}; /* so that this read begins a request */
	if (family_of(sk) == AF_UNIX)
		fresh->inode = inode_of(sk);
	conn_slots[conn_slot(connection)] = 1;
	if (bpf_map_update_elem(&conns, &connection, fresh, BPF_ANY)) {
		count_loss(LOSS_CONNS);
		return 0;
	}
	if (tls)
		tls_seen(t);
	else
		send_open(sk, connection);
	return 0;
}

static __always_inline struct conn *open_connection(struct sock *sk, u64 connection, struct buffers *b,
						    s64 *length)
{
	u32 slot = SCRATCH_SYSCALL;
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io || !is_server_side(sk))
		return NULL;
	look(b);
	if (!pass_proxy_header(b, length))
		return NULL;
	io->opens = connection;
	enter_connection(b->first, *length);
	return find_conn(connection);
}

static __always_inline void target_received(struct target *t, struct sock *sk, s64 length)
{
	u64 connection = (u64)sk;
	struct buffers b = find_buffers();

	if (b.peeked)
		return;
	struct conn *c = find_conn(connection);

	if (c && c->inode &&
	    c->inode != inode_of(sk)) { /* of a Unix socket that has ended, and its name was used again */
		forget(connection, c);
		c = NULL;
	}
	bool fresh = !c;

	if (fresh)
		c = open_connection(sk, connection, &b, &length);
	if (t->tls)
		tls_received(connection, c, t);
	if (c && c->tls && !c->object)
		count_unseen(c, &b);
	if (c && !c->tls)
		take_received(connection, c, t, &b, length, fresh, SCRATCH_SYSCALL);
}

static __always_inline void received(struct sock *sk, s64 length)
{
	struct target *t = find_target(bpf_get_current_pid_tgid() >> 32);

	if (!t || t->runtime == RUNTIME_NONE)
		return;
	hold_cpu();
	target_received(t, sk, length);
	release_cpu();
}

/* Bytes that crypto/tls was given, once the socket has taken as many: encrypted they are some more. */
static __always_inline s64 clear_sent(struct conn *c, s64 length, struct buffers *b)
{
	u64 clear = c->length;

	c->taken += length;
	if (c->taken < clear)
		return 0;
	b->base = c->write;
	c->length = 0;
	return clear;
}

static __always_inline void sent(struct sock *sk, s64 length)
{
	u64 connection = (u64)sk;
	struct conn *c = find_conn(connection);

	if (!c || !c->request || length == 0 || length == -EAGAIN)
		return;
	struct buffers b = {};

	hold_cpu();
	if (length > 0 && c->tls)
		length = clear_sent(c, length, &b);
	else if (length > 0)
		b = find_buffers();
	if (length)
		take_sent(connection, c, answers(c), &b, length, SCRATCH_SYSCALL);
	release_cpu();
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(sock_recv_length, struct sock *sk, int ret, int flags)
{
	if (ret > 0 && !(flags & MSG_PEEK))
		received(sk, ret);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(sock_send_length, struct sock *sk, int ret, int flags)
{
	sent(sk, ret);
	return 0;
}

static __always_inline struct sock *sock_of(struct task_struct *task, u32 fd)
{
	struct file *file = file_of(task, fd, false);

	if (file_type(file) != S_IFSOCK)
		return NULL;
	struct socket *socket = BPF_CORE_READ(file, private_data);

	return BPF_CORE_READ(socket, sk);
}

/* For kernels without the socket tracepoints. sendfile and splice pass unseen there. */
SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
	s32 nr = REGS_SYSCALL(regs);
	bool in = nr == NR_READ || nr == NR_RECVFROM || nr == NR_RECVMSG || nr == NR_READV;
	bool out = nr == NR_WRITE || nr == NR_SENDTO || nr == NR_SENDMSG || nr == NR_WRITEV;

	if (!(in && ret > 0) && !out)
		return 0;
	if (!find_target(bpf_get_current_pid_tgid() >> 32))
		return 0;
	struct sock *sk = sock_of((struct task_struct *)bpf_get_current_task(), REGS_ARG0(regs));

	if (!sk)
		return 0;
	if (in)
		received(sk, ret);
	else
		sent(sk, ret);
	return 0;
}

/* Interrupts on behalf of the peer come here too, so no scratch is used. */
static __always_inline void closed(struct sock *sk, u16 flags, bool gone)
{
	u64 connection = (u64)sk;
	struct conn *c = find_conn(connection);

	if (!c)
		return;
	struct conn_event event = {.connection = connection, .flags = flags};
	u64 id = bpf_get_current_pid_tgid();

	hold_cpu();
	stamp(&event.event, EVENT_CLOSE, id >> 32, id);
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP))
		count_loss(LOSS_RING_IO);
	if (gone)
		forget(connection, c);
	release_cpu();
}

/*
 * Leaving ESTABLISHED for CLOSE_WAIT is only the peer's FIN. To FIN_WAIT1 or LAST_ACK: we shut down
 * or closed. To CLOSE: reset by the peer; the server finds out at its next call, and may still be at
 * work for the request, which then ends at tcp_destroy_sock or a failed write.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(inet_sock_set_state, struct sock *sk, int old, int new)
{
	if (new == TCP_LISTEN) {
		u8 yes = 1;
		struct listener key = {
		    .net = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum),
		    .port = BPF_CORE_READ(sk, __sk_common.skc_num),
		};
		if (find_target(bpf_get_current_pid_tgid() >> 32) &&
		    bpf_map_update_elem(&listeners, &key, &yes, BPF_ANY))
			count_loss(LOSS_CONNS);
		return 0;
	}
	if (old != TCP_ESTABLISHED && old != TCP_CLOSE_WAIT)
		return 0;
	bool reset = new == TCP_CLOSE;

	if (reset && !is_mptcp(sk))
		closed(sk, IO_PEER, false);
	else if (new != TCP_CLOSE_WAIT)
		closed(sk, IO_WRITE_END | (reset || old == TCP_CLOSE_WAIT ? IO_PEER : 0), true);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroy_sock, struct sock *sk)
{
	closed(sk, 0, true);
	return 0;
}

#endif
