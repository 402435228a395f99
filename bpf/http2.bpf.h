/*
 * Which goroutine serves which stream of an HTTP/2 connection in Go: the one that reads or writes frames is
 * another. A uprobe where a goroutine begins to serve a stream; HTTP/1 does not pass there. 5.10.
 */
#ifndef APM_HTTP2_H
#define APM_HTTP2_H

#include "request.bpf.h"

/* Fields of net/http's bundled HTTP/2 and of golang.org/x/net/http2, the same since Go 1.20 (server.go). */
#define SERVER_CONN_DATA 24 /* serverConn.conn, a net.Conn: its data word */
#define STREAM_ID 8
#define NET_FD_SYSFD 16 /* netFD.pfd.Sysfd (net/fd_unix.go, internal/poll/fd_unix.go) */

/* The connection behind a *net.TCPConn, *net.UnixConn or *tls.Conn, 0 if it is none that is known. */
static __always_inline u64 go_connection(u64 net_conn)
{
	u64 by_tls;

	if (tls_connection(net_conn, &by_tls))
		return by_tls;
	u32 fd = read_user(read_user(net_conn) + NET_FD_SYSFD);
	u64 connection = (u64)sock_of((struct task_struct *)bpf_get_current_task(), fd);

	return bpf_map_lookup_elem(&conns, &connection) ? connection : 0;
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

/* (*serverConn).runHandler(rw *responseWriter, req, handler). rw.rws.stream is the stream. */
SEC("uprobe")
int go_run_handler(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct target *t = http2_target(pid);

	if (!t)
		return 0;
	u64 connection = go_connection(read_user(GO_ARG0(ctx) + SERVER_CONN_DATA));
	u64 stream = read_user(read_user(GO_ARG1(ctx)));
	u64 goroutine = read_user(GO_G(ctx) + t->go.g_goid), now = bpf_ktime_get_ns();

	go_serves(pid, goroutine, now);
	slow_count(now, 1);
	slow_check(now);
	send_serve(t, EVENT_SERVE, connection, read_user(stream + STREAM_ID), GO_G(ctx), goroutine);
	return 0;
}

/* (*responseWriter).handlerDone(), when runHandler's handler has returned. */
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
