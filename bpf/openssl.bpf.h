/*
 * The bytes of TLS connections, as OpenSSL's callers give and get them (ssl/ssl_lib.c). Uprobes where reads
 * and writes are called and where they return, and where an object does other work or ends; internal/target
 * finds them. Only what succeeded counts: a call that is to be repeated has moved nothing. 5.10.
 */
#ifndef APM_OPENSSL_H
#define APM_OPENSSL_H

#include "tls.bpf.h"

static __always_inline void ssl_enter(struct tls_thread *thread, u64 object, u64 buffer, u64 count_at)
{
	thread->object = object;
	thread->buffer = buffer;
	thread->count_at = count_at;
}

static __always_inline struct tls_thread *ssl_thread(void)
{
	struct target *t = find_target(bpf_get_current_pid_tgid() >> 32);

	return t ? tls_thread(t, true) : NULL;
}

static __always_inline int ssl_reads(u64 object, u64 buffer, u64 count_at)
{
	struct tls_thread *thread = ssl_thread();

	if (!thread)
		return 0;
	tls_claim(thread, object);
	ssl_enter(thread, object, buffer, count_at);
	return 0;
}

static __always_inline int ssl_writes(u64 object, u64 buffer, u64 count_at)
{
	struct tls_thread *thread = ssl_thread();

	if (thread)
		ssl_enter(thread, object, buffer, count_at);
	return 0;
}

/*
 * The thread's call returns. Gives how many bytes passed, and the connection that they belong to: NULL if
 * there are none.
 */
static __always_inline struct conn *ssl_leave(struct tls_thread *thread, s32 result, u64 *length,
					      u64 *connection)
{
	u64 object = thread->object;

	thread->object = 0;
	if (!object || result <= 0)
		return NULL;
	*length = thread->count_at ? read_user(thread->count_at) : result;
	if (!*length || *length > TLS_BYTES_MAX)
		return NULL;
	return tls_connection(object, connection);
}

/* int SSL_read(SSL *, void *, int) */
SEC("uprobe")
int ssl_read(struct pt_regs *ctx)
{
	return ssl_reads(UPROBE_ARG0(ctx), UPROBE_ARG1(ctx), 0);
}

/* int SSL_read_ex(SSL *, void *, size_t, size_t *) */
SEC("uprobe")
int ssl_read_ex(struct pt_regs *ctx)
{
	return ssl_reads(UPROBE_ARG0(ctx), UPROBE_ARG1(ctx), UPROBE_ARG3(ctx));
}

SEC("uprobe")
int ssl_read_done(struct pt_regs *ctx)
{
	struct target *t = find_target(bpf_get_current_pid_tgid() >> 32);
	struct tls_thread *thread = t ? tls_thread(t, false) : NULL;
	u64 length, connection;

	if (!thread)
		return 0;
	struct conn *c = ssl_leave(thread, UPROBE_RETURN(ctx), &length, &connection);

	if (c)
		take_clear(connection, c, t, thread->buffer, length);
	return 0;
}

/* int SSL_write(SSL *, const void *, int) */
SEC("uprobe")
int ssl_write(struct pt_regs *ctx)
{
	return ssl_writes(UPROBE_ARG0(ctx), UPROBE_ARG1(ctx), 0);
}

/* int SSL_write_ex(SSL *, const void *, size_t, size_t *) */
SEC("uprobe")
int ssl_write_ex(struct pt_regs *ctx)
{
	return ssl_writes(UPROBE_ARG0(ctx), UPROBE_ARG1(ctx), UPROBE_ARG3(ctx));
}

/* int SSL_write_ex2(SSL *, const void *, size_t, uint64_t, size_t *), since 3.3 */
SEC("uprobe")
int ssl_write_ex2(struct pt_regs *ctx)
{
	return ssl_writes(UPROBE_ARG0(ctx), UPROBE_ARG1(ctx), UPROBE_ARG4(ctx));
}

SEC("uprobe")
int ssl_write_done(struct pt_regs *ctx)
{
	struct tls_thread *thread = ssl_thread();
	u64 length, connection;

	if (!thread)
		return 0;
	struct conn *c = ssl_leave(thread, UPROBE_RETURN(ctx), &length, &connection);
	struct buffers b = {.base = thread->buffer};

	if (!c || !c->request || !claim_uprobe_io(c))
		return 0;
	take_sent(connection, c, answers(c), &b, length, SCRATCH_UPROBE);
	release_uprobe();
	return 0;
}

/* SSL_do_handshake(SSL *), SSL_shutdown(SSL *): what was received is for them too. */
SEC("uprobe")
int ssl_other(struct pt_regs *ctx)
{
	struct tls_thread *thread = ssl_thread();

	if (thread)
		tls_claim(thread, UPROBE_ARG0(ctx));
	return 0;
}

/* SSL_free(SSL *): another may get its address. */
SEC("uprobe")
int ssl_free(struct pt_regs *ctx)
{
	tls_unbind(UPROBE_ARG0(ctx));
	return 0;
}

#endif
