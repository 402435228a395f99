/*
 * What the programs tell the agent: one struct an event, written to the ring buffer in one piece.
 * bpf2go turns these into Go types, so every byte of padding is named.
 */
#ifndef APM_EVENT_H
#define APM_EVENT_H

enum event_kind {
	EVENT_SAMPLE = 1, /* stack_event: the thread is on a CPU */
	EVENT_SWITCH_OUT, /* stack_event: the thread leaves its CPU */
	EVENT_SWITCH_IN,  /* thread_event: the thread has a CPU again */
	EVENT_WAKE,	  /* thread_event: the thread may run again; peer is the waker */
	EVENT_WRITE,	  /* stack_event: who makes the first write of an answer */
	EVENT_OPEN,	  /* conn_event: a connection is seen for the first time */
	EVENT_RECV,	  /* io_event */
	EVENT_SEND,	  /* io_event */
	EVENT_CLOSE,	  /* conn_event without addresses */
	EVENT_FORK,	  /* thread_event: pid is the child, peer the parent */
	EVENT_EXEC,	  /* thread_event */
	EVENT_EXIT,	  /* thread_event: the last thread of a process is gone */
	EVENT_TASK,	  /* stack_event: creates an asyncio task around the coroutine object */
	EVENT_STEP,  /* stack_event: begins a step of the task around object; frames: its suspended chain */
	EVENT_ENDED, /* stack_event without frames: the task around the coroutine object has ended, unseen */
	EVENT_JOB,   /* stack_event: puts the object into a queue */
	EVENT_TAKE,  /* stack_event: takes the object from a queue */
	EVENT_ARM,   /* stack_event: asks to be told when the connection object can be written to */
	EVENT_SPAWN, /* stack_event: creates the greenlet object */
	EVENT_GREENLET,	     /* stack_event: a greenlet leaves the thread */
	EVENT_THREAD,	     /* stack_event: starts the thread in args[0] */
	EVENT_HANDOFF,	     /* stack_event: wakes the thread in args[0], which waited on a futex for work */
	EVENT_CODE,	     /* code_event: what a code object of a later stack says of itself */
	EVENT_TLS,	     /* thread_event: TLS on a connection that is served; peer: enum tls_sight */
	EVENT_GO_SAMPLE,     /* go_event: the goroutine is on a CPU */
	EVENT_GO_SWITCH_OUT, /* go_event: a request's goroutine leaves its CPU with its thread */
	EVENT_SERVE,	     /* serve_event: a goroutine begins to serve a stream */
	EVENT_SERVED,	     /* serve_event: it has done so; stream is not told */
	EVENT_SCOPE, /* scope_event: for which request the stack of that time, or a coroutine, was called */
	EVENT_COPY,  /* stack_event: has copied its contextvars.Context: the object */
};

/* When a slow request of Go wakes the agent, which then reads goroutines. */
enum slow_wake {
	SLOW_WAKES,
	SLOW_WAKES_IDLE, /* while it rests: where a CPU has nothing to do */
	SLOW_WAKES_NOT,	 /* from when it was woken until it has stopped reading */
};

enum tls_sight {
	TLS_FIRST,  /* the first of the process */
	TLS_UNSEEN, /* many reads, and nothing of them was seen in clear */
};

/* Why something was lost; indexes the losses map. */
enum loss {
	LOSS_RING_STACK,   /* ring buffer full: samples and switches; steps of lanes that met on a CPU */
	LOSS_RING_IO,	   /* ring buffer full: bytes of connections; bytes in clear that met on a CPU */
	LOSS_RING_OTHER,   /* ring buffer full: wake-ups, returns to a CPU, streams of HTTP/2 */
	LOSS_RING_PROCESS, /* ring buffer full: forks, execs, exits, the first sight of TLS */
	LOSS_CONNS,	   /* more connections than the map holds */
	LOSS_REQUESTS,	   /* more open requests than the map holds */
	LOSS_TARGETS,	   /* more processes than the map holds */
	LOSS_DATA,	   /* bytes that could not be read from the target */
	LOSS_COUNT,
};

struct event {
	u64 time; /* CLOCK_MONOTONIC, ns */
	u32 kind;
	u32 pid; /* process (tgid) and thread, in the initial PID namespace */
	u32 tid;
	u32 pad;
};

struct frame {
	u64 address; /* of the frame; up to CPython 3.10, of the coroutine that owns it */
	u64 code;    /* code object, low 48 bits; the others tell it from those that had its address before */
	u64 instr;   /* instruction, low 56 bits, 0 where nobody asks; owner in the top byte */
};

#define CODE_ADDRESS 0xfffffffffff8ULL /* without the mark, nor the tag bits of references since 3.14 */

#define TEXT_MAX 256

/* A str object. */
struct text {
	u64 address;
	u64 length; /* characters; 0 where it could not be read */
	u32 state;  /* PyASCIIObject.state */
	u32 size;   /* bytes of data, all of the text or its beginning; 0 where it could not be read */
	u8 data[TEXT_MAX];
};

struct code_event {
	struct event event;
	u64 code;	/* as in a frame */
	u32 slot;	/* which other code objects are told again when they are seen next */
	u32 flags;	/* co_flags */
	u32 first_line; /* co_firstlineno */
	u32 pad;
	struct text name; /* qualified where there is such */
	struct text file;
};

/* What WSGI's environ or ASGI's scope says of the request; texts are str or bytes objects. */
struct scope_event {
	struct event event;
	u64 coroutine; /* 0: it is the thread's stack */
	u32 port;      /* the client's; 0: not told */
	u32 pad;
	struct text path;  /* decoded */
	struct text query; /* as sent; without an address: not told */
};

enum stack_status {
	STACK_OK,
	STACK_NO_THREAD,  /* the thread has no interpreter state: not a Python thread, or not yet */
	STACK_EMPTY,	  /* it has, and runs no Python code */
	STACK_UNREADABLE, /* from the last frame on, of which the address alone is told */
};

/* What a thread waits for that an event loop's thread runs. */
enum awaited {
	AWAITS_COROUTINE, /* of which the loop makes a task */
	AWAITS_FUTURE,	  /* a concurrent.futures.Future, which may get the result of such a task */
};

enum stack_size {
	FRAMES_LEAF = 192, /* kept from the leaf of a stack */
	FRAMES_ROOT = 64,  /* kept from its root, as a ring: entry i of the rest is at i % 64 */
	FRAMES_MAX = FRAMES_LEAF + FRAMES_ROOT,
	PCS_WALK = 2048, /* of a goroutine's stack that is deeper still the root is not found */
};

struct stack_event {
	struct event event;
	u64 object; /* EVENT_WRITE: connection whose answer begins; EVENT_TASK, EVENT_STEP: coroutine;
		       EVENT_SWITCH_OUT: what the thread waits for and another runs, see awaits;
		       EVENT_SPAWN: the greenlet; EVENT_GREENLET: the one that comes; EVENT_COPY: the copy */
	u64 work;   /* contextvars.Context of the thread; EVENT_STEP: one that the chain's last frame holds */
	u64 item; /* _WorkItem of an executor that the thread runs, 0: none; EVENT_STEP: Context in which trio
		     runs it, 0: asyncio does */
	u64 args[2]; /* EVENT_SWITCH_OUT: first two arguments of the system call;
			EVENT_JOB, EVENT_TAKE: the deque of a queue.Queue, 0: it has none;
			EVENT_TASK: the concurrent.futures.Future that gets its result, 0: none such;
			EVENT_STEP: coroutine of the step before, its frame state */
	s32 syscall; /* -1: not in one */
	u32 state;   /* EVENT_SWITCH_OUT: task state, 0 when preempted */
	u32 mode;    /* EVENT_SWITCH_OUT: file type of the descriptor in args[0] (S_IFMT), 0: none */
	u32 status;  /* enum stack_status */
	u32 depth;   /* frames of the stack; more than FRAMES_MAX: the middle is missing */
	u32 awaits;  /* EVENT_SWITCH_OUT: enum awaited */
	struct frame frames[FRAMES_MAX]; /* leaf first; EVENT_STEP: root first */
};

struct go_event {
	struct event event;
	u64 goroutine;	/* goid */
	u64 g;		/* its runtime.g */
	u64 callers[2]; /* return addresses that a walk by frame pointers leaves out if the leaf has no frame
			   yet: x86_64: words at the stack pointer; arm64: link register, word at the stack
			   pointer */
	u64 args[2];	/* EVENT_GO_SWITCH_OUT: first two arguments of the system call */
	s32 syscall;	/* -1: not in one */
	u32 state;	/* EVENT_GO_SWITCH_OUT: task state, 0 when preempted */
	u32 mode;	/* EVENT_GO_SWITCH_OUT: file type of the descriptor in args[0] (S_IFMT), 0: none */
	u32 depth;	/* program counters of the stack; more than FRAMES_MAX: the middle is missing */
	u32 lost;	/* the leaf's frame was not to be found: it uses the frame pointer for other things */
	u32 ran;	/* g.trackingSeq: one more each time the goroutine leaves running, modulo 256 */
	u64 pcs[FRAMES_MAX]; /* leaf first */
};

struct serve_event {
	struct event event;
	u64 connection; /* 0: not known */
	u64 goroutine;
	u64 g;
	u32 stream; /* HTTP/2 */
	u32 ran;    /* g.trackingSeq */
};

struct thread_event {
	struct event event;
	u32 peer;
	u32 pad;
};

struct conn_event {
	struct event event;
	u64 connection;
	u64 inode; /* of a Unix socket: it ends without an event */
	u16 family;
	u16 local_port;
	u16 remote_port;
	u16 flags; /* EVENT_CLOSE: enum io_flag */
	u8 local[16];
	u8 remote[16];
};

#define IO_HEAD 4096
#define IO_TAIL 32

enum io_flag {
	IO_BEGINS = 1 << 0,    /* EVENT_RECV: first read of what may be a request */
	IO_SAMPLED = 1 << 1,   /* stacks are taken for it */
	IO_PEER = 1 << 2,      /* EVENT_OPEN, EVENT_CLOSE: by the peer or the network */
	IO_WRITE_END = 1 << 3, /* EVENT_CLOSE: only our direction: shutdown(SHUT_WR) or close */
	IO_MISSED = 1 << 4,    /* an event of this connection was lost before */
	IO_FRAMED = 1 << 5,    /* HTTP/2 */
	IO_SHORT = 1 << 6,     /* EVENT_SEND: the socket took less than it was given, so more will follow */
	IO_CHUNK = 1 << 7,     /* EVENT_SEND: the end is like that of a chunk, or a head, that one follows */
};

struct io_event {
	struct event event;
	u64 connection; /* address of the struct sock */
	u64 request;	/* time of the read that began it: names it together with connection */
	u64 lost;	/* stack events of this process that were lost, so far */
	u64 goroutine;	/* goid and runtime.g of who reads or writes; 0: not Go */
	u64 g;
	u64 goids[2];	      /* EVENT_SEND that more may not follow: its processor gives next, up to */
	s64 length;	      /* bytes that passed, -errno of a failed write */
	u32 flags;	      /* enum io_flag */
	u32 head;	      /* bytes kept from the beginning … */
	u32 tail;	      /* … and from the end, which follow them in data */
	u32 ran;	      /* g.trackingSeq: one more each time the goroutine leaves running, modulo 256 */
	u8 data[2 * IO_HEAD]; /* IO_HEAD + IO_TAIL are used; the rest spares the verifier a proof */
};

#endif
