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

/* (*serverConn).runHandler(rw *responseWriter, req, handler). rw.rws.stream is the stream. */
SEC("uprobe")
int go_run_handler(struct pt_regs *ctx)
{
	u64 id = bpf_get_current_pid_tgid();
	u32 pid = id >> 32;
	struct target *t = gate_open(pid) ? find_target(pid) : NULL;

	if (!t || t->runtime != RUNTIME_GO)
		return 0;
	u64 stream = read_user(read_user(GO_ARG1(ctx)));
	struct serve_event event = {
	    .connection = go_connection(read_user(GO_ARG0(ctx) + SERVER_CONN_DATA)),
	    .g = GO_G(ctx),
	    .stream = read_user(stream + STREAM_ID),
	};
	u8 ran = 0;

	stamp(&event.event, EVENT_SERVE, pid, id);
	event.goroutine = read_user(event.g + t->go.g_goid);
	bpf_probe_read_user(&ran, sizeof(ran), (void *)(event.g + t->go.g_tracking_seq));
	event.ran = ran;
	go_serves(pid, event.goroutine);
	if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP))
		count_loss(LOSS_RING_OTHER);
	return 0;
}

#endif
