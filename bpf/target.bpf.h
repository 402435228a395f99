/*
 * Which processes are targets, whether anything of them is worth a look now, and how events leave.
 * Every program reads this first.
 */
#ifndef APM_TARGET_H
#define APM_TARGET_H

#include "arch.bpf.h"
#include "event.h"

/* Offsets of one CPython version; see internal/symbol for their source. NO_OFFSET: has none. */
#define NO_OFFSET 0xffffffff

struct py_layout {
	u32 interp_head; /* in _PyRuntime */
	u32 interp_next;
	u32 threads_head;
	u32 thread_prev;
	u32 thread_next;
	u32 interp_size; /* of interpreters that may have a lock of their own, NO_OFFSET: none have */
	u32 thread_id;
	u32 thread_start; /* of a thread state the bytes from here … */
	u32 thread_size;  /* … that hold what is read with each stack */
	u32 thread_frame;
	u32 cframe; /* from thread_frame's object on to the frame; NO_OFFSET: it is the frame */
	u32 frame_prev;
	u32 frame_code;
	u32 frame_instr;
	u32 frame_owner; /* NO_OFFSET: frames are objects (up to 3.10), whose frame_code follows frame_prev */
	u32 frame_gen;	 /* frame objects: the generator that owns it */
	u32 frame_size;	 /* bytes of any other frame to read */
	u32 code_flags;	 /* code objects: int */
	u32 code_first_line;
	u32 code_name; /* qualified where there is such */
	u32 code_file;
	u32 str_length;
	u32 str_state;
	u32 str_kind;	 /* first bit of state.kind, which compact and ascii follow */
	u32 str_ascii;	 /* text of a compact ASCII string */
	u32 str_compact; /* text of any other */
	u32 code_locals; /* code objects: number of locals, cells and free variables; of locals alone … */
	u32 code_cells;	 /* … where the names of cells are told in a tuple, … */
	u32 code_free;	 /* … and those of free variables; NO_OFFSET from 3.11 on */
	u32 code_instrs; /* code objects of frame objects: bytes object of instructions */
	u32 thread_context;
	u32 frame_locals;
	u32 frame_stack_top;
	u32 frame_stack_depth; /* 3.10 */
	u32 frame_value_stack; /* 3.10 */
	u32 gen_frame;
	u32 gen_state;
	u32 task_coro;
	u32 tuple_items;
	u32 object_type;       /* objects; what a kind of object has of its own follows 8 bytes later */
	u32 await_told_by;     /* enum await_told_by */
	u32 wakeup_is_wrapper; /* up to 3.9 */
	u32 eager_tasks;       /* some begin at once, from 3.12 on */
	u32 newest_is_own;     /* the newest state with a thread's identifier is the thread's, from 3.12 on */
};

/* How a generator that awaits is told from one that stands at a plain yield. */
enum await_told_by {
	AWAIT_BY_OPCODE,	     /* up to 3.10: YIELD_FROM comes next */
	AWAIT_BY_RESUME,	     /* 3.11, 3.12: by the argument of the RESUME that comes next */
	AWAIT_BY_STATE,		     /* 3.13; what it awaits is found by an index */
	AWAIT_BY_POINTER,	     /* 3.14: by the state too, and a pointer */
	AWAIT_BY_POINTER_RENUMBERED, /* 3.15: states have other numbers */
};

/* Addresses of the types of what has names, and of what a suspended chain is made of; 0: not known. */
struct py_types {
	u64 code;
	u64 text; /* str */
	u64 coroutine;
	u64 generator;
	u64 async_generator;
	u64 asend;
	u64 athrow;
	u64 wrapper;
	u64 anext;
	u64 context;
	u64 cell;
	u64 dict;
	u64 tuple;
	u64 list;
	u64 bytes;
	u64 integer; /* int */
};

/* Offsets of one Go version; see internal/goroutine for their source. */
struct go_layout {
	s64 tls_g; /* x86_64: from the TLS base to the pointer to the current runtime.g */
	u32 g_m;
	u32 g_sched_sp;
	u32 g_sched_pc;
	u32 g_sched_bp;
	u32 g_status;
	u32 g_goid;
	u32 g_tracking_seq;
	u32 m_curg;
	u32 m_oldp;
	u32 p_goidcache;
	u32 tls_input; /* in crypto/tls.Conn: the bytes.Reader of what was decrypted */

	/* google.golang.org/grpc/internal/transport; zero where the program has none */
	u32 grpc_conn;	    /* in http2Server: conn, a net.Conn */
	u32 grpc_stream;    /* in what a stream is to the server: the Stream */
	u32 grpc_id;	    /* in Stream: id */
	u32 grpc_stream_at; /* there is a pointer to the Stream */

	u32 callback_size; /* of runtime.cgocallback, by which C calls Go; 0: not known */
	u32 callback_skip; /* from the frame of what it calls to that of what has called C */
	u32 call_frame;	   /* from the stack pointer that is kept there to that frame */
	u64 callback;	   /* where it begins */
};

/* Which kinds of lanes a target was seen to have besides threads. */
enum lanes {
	LANES_TASKS = 1 << 0,
	LANES_GREENLETS = 1 << 1,
	LANES_JOBS = 1 << 2,
	LANES_SHARE = LANES_TASKS | LANES_GREENLETS, /* several are on one thread */
};

/*
 * One for each context that can interrupt another on its CPU: a sample's interrupt may land in any
 * program, and a half-filled event must not be overwritten.
 */
enum scratch_slot {
	SCRATCH_SAMPLE,
	SCRATCH_SWITCH,
	SCRATCH_WAKE,
	SCRATCH_UPROBE,
	SCRATCH_SYSCALL,
	SCRATCH_SLOTS,
};

enum runtime {
	RUNTIME_NONE, /* between exec and recognition by the agent */
	RUNTIME_PYTHON,
	RUNTIME_GO,
};

enum life {
	LIFE_BLIND = 1U << 31,
};

struct target {
	u64 py_runtime; /* address of _PyRuntime */
	u64 py_runtime_end;
	u64 py_unset;	  /* instructions from here … */
	u64 py_unset_end; /* … to here: the thread state points to what holds no frame yet; 0: none such are
			     known */
	u64 py_gil; /* the interpreter lock's condition variable, of musl; 0: its waiters wait on _PyRuntime
		     */
	struct py_layout py;
	struct py_types py_types;
	struct go_layout go;
	u32 lanes; /* enum lanes */
	u32 life; /* number of the address space, with LIFE_BLIND while the end of code objects goes unseen */
	u32 runtime;
	u32 sample_every;      /* one of so many requests gets stacks */
	u32 tls;	       /* TLS was seen on a connection that it serves */
	u32 lines;	       /* where a frame is in its function is asked for */
	u32 several;	       /* Python: there were several interpreters … */
	u32 scopes;	       /* what functions were called with is looked at for so many more answers */
	u64 interpreters_seen; /* … then */
	u64 interpreter;       /* the newest of them */
	u64 requests;	       /* begun so far */
	u64 lost;	       /* stack events that were lost */
	u64 runner;	/* code object of concurrent.futures' _WorkItem.run; 0: not seen. Needs LANES_JOBS */
	u64 worker;	/* of the function whose threads call that; 0: not seen */
	u64 put;	/* of queue.Queue's _put; 0: not seen */
	u64 simple;	/* of _PySimpleQueue's put, by which executors hand work to greenlets; 0: not seen */
	u64 get;	/* of queue.Queue's _get; 0: not seen */
	u64 sought;	/* how often they were looked for */
	u64 bridge;	/* of asgiref's AsyncToSync.__call__; 0: not seen */
	u64 hands_over; /* of asyncio's run_coroutine_threadsafe, … */
	u64 callback;	/* … of the callback in it that makes the task, … */
	u64 result;	/* … and of Future.result, where a thread may wait for it; 0: not seen */
	u64 deques;	/* uses of any deque, while that is probed */
};

/* Process -> target. Written by the agent, and here on fork; deleted on exit. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct target);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

/* enum loss -> count. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_COUNT);
	__type(key, u32);
	__type(value, u64);
} losses SEC(".maps");

/*
 * The gate: how many sampled requests are open in the processes that share a slot. All but nothing
 * of a context switch's cost for everybody is this one load.
 */
#define GATES 16384
u32 gates[GATES];

/* [0]: set by the agent while it sleeps with its timers off: the next request must wake it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} agent_idle SEC(".maps");

/* Makes the compiler forget what it knows of a value. */
#define FORGET(value) asm volatile("" : "+r"(value))

static __always_inline void count_loss(u32 cause)
{
	u64 *n = bpf_map_lookup_elem(&losses, &cause);

	if (n)
		(*n)++;
}

/* 6.11, 6.14 */
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;
extern void bpf_local_irq_save(unsigned long *flags) __ksym __weak;
extern void bpf_local_irq_restore(unsigned long *flags) __ksym __weak;

/* Set by the agent if the verifier lets a program that holds its CPU call global functions: since 6.15. */
const volatile bool may_hold_cpu;

/*
 * Has the program keep its CPU to release_cpu. Uprobes can be preempted since 6.0 and tracepoints since 7.0,
 * where the kernel is built for it. Another thread would then go on in the same scratch, and the kernel does
 * not run a program of a tracepoint for it at all that has begun on this CPU and not ended.
 */
static __always_inline void hold_cpu(void)
{
	if (may_hold_cpu && bpf_preempt_disable)
		bpf_preempt_disable();
}

/* Without interrupts nobody else gets the CPU at once, before the program has ended, but at the next
 * occasion. */
static __always_inline void release_cpu(void)
{
	unsigned long flags;

	if (!may_hold_cpu || !bpf_preempt_enable || !bpf_local_irq_save || !bpf_local_irq_restore)
		return;
	bpf_local_irq_save(&flags);
	bpf_preempt_enable();
	bpf_local_irq_restore(&flags);
}

/* Whether a program for uprobes is filling its scratch on this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} uprobe_busy SEC(".maps");

/*
 * Takes the scratch of uprobes until release_uprobe. Where a program cannot hold its CPU, another may have
 * it: what this one has to tell is lost then, and counted under cause.
 */
static __always_inline bool claim_uprobe(u32 cause)
{
	volatile u32 *busy;
	u32 zero = 0;

	hold_cpu();
	busy = bpf_map_lookup_elem(&uprobe_busy, &zero);
	if (busy && !*busy) {
		*busy = 1;
		return true;
	}
	release_cpu();
	count_loss(cause);
	return false;
}

static __always_inline void release_uprobe(void)
{
	u32 zero = 0;
	volatile u32 *busy = bpf_map_lookup_elem(&uprobe_busy, &zero);

	if (busy)
		*busy = 0;
	release_cpu();
}

static __always_inline bool gate_open(u32 pid)
{
	return gates[pid % GATES] != 0;
}

/*
 * Whether a process may be a target: set before it is one and left set, as two may share a slot. Spares
 * everybody else a look at targets.
 */
#define WATCHED_SLOTS 16384
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WATCHED_SLOTS);
	__type(key, u32);
	__type(value, u8);
} watched SEC(".maps");

static __always_inline struct target *find_target(u32 pid)
{
	u32 slot = pid % WATCHED_SLOTS;
	u8 *is_watched = bpf_map_lookup_elem(&watched, &slot);

	return is_watched && *is_watched ? bpf_map_lookup_elem(&targets, &pid) : NULL;
}

static __always_inline u64 read_user(u64 address)
{
	u64 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (void *)address);
	return value;
}

/* The same where something goes unseen if it fails, which is counted then. */
static __always_inline u64 must_read_user(u64 address)
{
	u64 value = 0;

	if (bpf_probe_read_user(&value, sizeof(value), (void *)address))
		count_loss(LOSS_DATA);
	return value;
}

static __always_inline u64 wakeup_flags(void)
{
	u32 zero = 0;
	u32 *idle = bpf_map_lookup_elem(&agent_idle, &zero);

	return idle && *idle ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void stamp(struct event *event, u32 kind, u32 pid, u32 tid)
{
	event->time = bpf_ktime_get_ns();
	event->kind = kind;
	event->pid = pid;
	event->tid = tid;
	event->pad = 0;
}

static __always_inline void send_thread_event(u32 kind, u32 pid, u32 tid, u32 peer, u64 flags)
{
	struct thread_event event = {.peer = peer};

	stamp(&event.event, kind, pid, tid);
	if (bpf_ringbuf_output(&events, &event, sizeof(event), flags))
		count_loss(kind == EVENT_SWITCH_IN || kind == EVENT_WAKE ? LOSS_RING_OTHER
									 : LOSS_RING_PROCESS);
}

#endif
