/* The kernel half of apm-ebpf: one object, so that all parts share their maps without pinning. */
#include "vmlinux.h"

#include "arch.bpf.h"
#include "event.h"
#include "target.bpf.h"
#include "go.bpf.h"
#include "pystate.bpf.h"
#include "python.bpf.h"
#include "stack.bpf.h"
#include "chain.bpf.h"
#include "lanes.bpf.h"
#include "queue.bpf.h"
#include "greenlet.bpf.h"
#include "connection.bpf.h"
#include "io.bpf.h"
#include "frames.bpf.h"
#include "transfer.bpf.h"
#include "tls.bpf.h"
#include "request.bpf.h"
#include "epoll.bpf.h"
#include "http2.bpf.h"
#include "openssl.bpf.h"
#include "gotls.bpf.h"
#include "process.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Types of events, named so that bpf2go finds them. */
const struct stack_event *unused_stack __attribute__((unused));
const struct scope_event *unused_scope __attribute__((unused));
const struct code_event *unused_code __attribute__((unused));
const struct thread_event *unused_thread __attribute__((unused));
const struct conn_event *unused_conn __attribute__((unused));
const struct serve_event *unused_serve __attribute__((unused));
const struct go_event *unused_go __attribute__((unused));
const struct io_event *unused_io __attribute__((unused));
const struct go_layout *unused_go_layout __attribute__((unused));
const enum event_kind *unused_kind __attribute__((unused));
const enum loss *unused_loss __attribute__((unused));
const enum io_flag *unused_flag __attribute__((unused));
const enum stack_status *unused_status __attribute__((unused));
const enum tls_sight *unused_tls __attribute__((unused));
const enum runtime *unused_runtime __attribute__((unused));
const enum await_told_by *unused_await __attribute__((unused));
const enum stack_size *unused_stack_size __attribute__((unused));
const enum read_size *unused_read_size __attribute__((unused));
const enum scopes_for *unused_scopes __attribute__((unused));
const enum life *unused_life __attribute__((unused));
const enum awaited *unused_awaited __attribute__((unused));
