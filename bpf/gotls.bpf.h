/*
 * The bytes of TLS connections in Go, as crypto/tls gives and takes them. Uprobes inside Conn.Read, where it
 * copies what was decrypted, and at the beginning of Conn.Write and Conn.readHandshake: returns are not
 * probed, since stacks of goroutines move. What Write is given counts when the socket has taken as many
 * bytes. 5.10.
 */
#ifndef APM_GOTLS_H
#define APM_GOTLS_H

#include "tls.bpf.h"

#define READER_AT 24 /* bytes.Reader.i; .s is at 0 */
#define ARG_SLOT                                                                                             \
	16 /* from the frame pointer as x86_64 has it to where a function keeps its first argument           \
	    */

/* What the current goroutine received last was for this Conn, if neither is known to belong elsewhere. */
static __always_inline void go_claim(struct target *t, u64 object)
{
	struct tls_thread *thread = tls_thread(t, false);

	if (thread)
		tls_claim(thread, object);
}

/*
 * Inside (*Conn).Read: the call of memmove(to, from, length) that the inlined (*bytes.Reader).Read makes for
 * c.input. c is where the function keeps its first argument, if c.input begins with from.
 */
SEC("uprobe")
int go_tls_read(struct pt_regs *ctx)
{
	struct target *t = find_target(bpf_get_current_pid_tgid() >> 32);
	u64 from = GO_ARG1(ctx), length = GO_ARG2(ctx), connection;

	if (!t || !t->tls || t->runtime != RUNTIME_GO || !length || length > TLS_BYTES_MAX)
		return 0;
	u64 object = must_read_user(GO_FRAME(ctx) + ARG_SLOT), input = object + t->go.tls_input;

	if (must_read_user(input) + must_read_user(input + READER_AT) != from)
		return 0;
	struct conn *c = tls_connection(object, &connection);

	if (!c) {
		go_claim(t, object);
		c = tls_connection(object, &connection);
	}
	if (c)
		take_clear(connection, c, t, from, length);
	return 0;
}

/*
 * (*Conn).readHandshake: not the first one of a handshake is after a receipt. Who reads later may be another
 * goroutine, and what it reads may have come together with the handshake's end.
 */
SEC("uprobe")
int go_tls_handshake(struct pt_regs *ctx)
{
	struct target *t = find_target(bpf_get_current_pid_tgid() >> 32);

	if (t && t->tls && t->runtime == RUNTIME_GO)
		go_claim(t, GO_ARG0(ctx));
	return 0;
}

/* (*Conn).Write(b []byte) */
SEC("uprobe")
int go_tls_write(struct pt_regs *ctx)
{
	u64 connection;
	struct conn *c = tls_connection(GO_ARG0(ctx), &connection);

	if (!c || !c->request || GO_ARG2(ctx) > TLS_BYTES_MAX)
		return 0;
	c->write = GO_ARG1(ctx);
	c->length = GO_ARG2(ctx);
	c->taken = 0;
	return 0;
}

#endif
