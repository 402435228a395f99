/*
 * Which goroutine serves which stream of an HTTP/2 connection in Go: the one that reads or writes frames is
 * another. A uprobe where a goroutine begins to serve a stream; HTTP/1 does not pass there. 5.10.
 */
#ifndef APM_HTTP2_H
#define APM_HTTP2_H

#include "request.bpf.h"

/*
 * Fields of net/http's bundled HTTP/2 and of golang.org/x/net/http2, the same since Go 1.20 (server.go), and
 * of net/http/internal/http2, which they have become with Go 1.27. Data word of serverConn.conn, a net.Conn:
 */
#define SERVER_CONN_DATA 24
#define INTERNAL_CONN_DATA 32
#define STREAM_ID 8
#define NET_FD_SYSFD 16 /* netFD.pfd.Sysfd (net/fd_unix.go, internal/poll/fd_unix.go) */
#define DATA_WORD 8	/* of an interface */
#define WRAPPERS_MAX 3

/*
 * The connection behind a *net.TCPConn, *net.UnixConn or *tls.Conn, 0 if it is none that is known. It may be
 * in a struct of others that begins with a net.Conn: gRPC's over TLS, netutil.LimitListener's, cmux's.
 */
static __always_inline u64 go_connection(u64 net_conn)
{
	for (int i = 0; i <= WRAPPERS_MAX && net_conn; i++) {
		u64 connection;

		if (tls_connection(net_conn, &connection))
			return connection;
		u32 fd = read_user(read_user(net_conn) + NET_FD_SYSFD);

		connection = (u64)sock_of((struct task_struct *)bpf_get_current_task(), fd);
		if (bpf_map_lookup_elem(&conns, &connection))
			return connection;
		net_conn = read_user(net_conn + DATA_WORD);
	}
	return 0;
}

static __always_inline void send_serve(struct target *t, u32 kind, u64 connection, u32 stream, u64 g,
				       u64 goroutine)
{
	u64 id = bpf_get_current_pid_tgid();
	struct serve_event event = {
	    .connection = connection,
	    .goroutine = goroutine,
	    .g = g,
	    .stream = stream,
	};
	u8 ran = 0;

	stamp(&event.event, kind, id >> 32, id);
	bpf_probe_read_user(&ran, sizeof(ran), (void *)(g + t->go.g_tracking_seq));
	event.ran = ran;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP))
		count_loss(LOSS_RING_OTHER);
}

/* The target, if a sampled request of it is open. */
static __always_inline struct target *http2_target(u32 pid)
{
	struct target *t = gate_open(pid) ? find_target(pid) : NULL;

	return t && t->runtime == RUNTIME_GO ? t : NULL;
}

/* The current goroutine begins to serve a stream. */
static __always_inline void begin_serve(struct pt_regs *ctx, struct target *t, u32 pid, u64 connection,
					u32 stream)
{
	u64 goroutine = read_user(GO_G(ctx) + t->go.g_goid), now = bpf_ktime_get_ns();

	go_serves(pid, goroutine, now);
	slow_count(now, 1);
	slow_check(now);
	send_serve(t, EVENT_SERVE, connection, stream, GO_G(ctx), goroutine);
}

/* (*serverConn).runHandler(rw *responseWriter, req, handler). rw.rws.stream is the stream. */
static __always_inline int run_handler(struct pt_regs *ctx, u32 conn_data)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct target *t = http2_target(pid);

	if (!t)
		return 0;
	u64 connection = go_connection(read_user(GO_ARG0(ctx) + conn_data));
	u64 stream = read_user(read_user(GO_ARG1(ctx)));

	begin_serve(ctx, t, pid, connection, read_user(stream + STREAM_ID));
	return 0;
}

SEC("uprobe")
int go_run_handler(struct pt_regs *ctx)
{
	return run_handler(ctx, SERVER_CONN_DATA);
}

SEC("uprobe")
int go_run_internal(struct pt_regs *ctx)
{
	return run_handler(ctx, INTERNAL_CONN_DATA);
}

/*
 * google.golang.org/grpc.(*Server).handleStream(t ServerTransport, stream), also of the goroutines that serve
 * one stream after another. Where net/http serves, t is no *http2Server, and go_run_handler has told already.
 */
SEC("uprobe")
int go_grpc_handle(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct target *t = http2_target(pid);

	if (!t)
		return 0;
	u64 connection = go_connection(read_user(GO_ARG2(ctx) + t->go.grpc_conn + DATA_WORD));
	u64 stream = GO_ARG3(ctx) + t->go.grpc_stream;

	if (!connection)
		return 0;
	if (t->go.grpc_stream_at)
		stream = read_user(stream);
	begin_serve(ctx, t, pid, connection, read_user(stream + t->go.grpc_id));
	return 0;
}

/*
 * (*responseWriter).handlerDone(), when runHandler's handler has returned, and gRPC's
 * (*http2Server).writeStatus(), which ends its answer.
 */
SEC("uprobe")
int go_handler_done(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct target *t = http2_target(pid);

	if (!t)
		return 0;
	struct goroutine_key key = {.goroutine = read_user(GO_G(ctx) + t->go.g_goid), .pid = pid};
	u64 *since = bpf_map_lookup_elem(&go_serving, &key);

	if (!since)
		return 0;
	if (*since)
		slow_count(*since, -1);
	bpf_map_delete_elem(&go_serving, &key);
	send_serve(t, EVENT_SERVED, 0, 0, GO_G(ctx), key.goroutine);
	return 0;
}

#endif
