/*
 * What differs between architectures: registers at a system call, their numbers, the TLS base.
 */
#ifndef APM_ARCH_H
#define APM_ARCH_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#if defined(__TARGET_ARCH_x86)

enum {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDFILE = 40,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_FUTEX = 202,
};

#define REGS_SYSCALL(r) ((s32)REG(r, orig_ax))
#define REGS_ARG0(r) REG(r, di)
#define REGS_ARG1(r) REG(r, si)
#define REGS_ARG2(r) REG(r, dx)
#define REGS_ARG3(r) REG(r, r10)
#define REGS_PC(r) REG(r, ip)
#define REGS_SP(r) REG(r, sp)
#define REGS_FP(r) REG(r, bp)
#define UPROBE_ARG0(ctx) ((ctx)->di)
#define UPROBE_ARG1(ctx) ((ctx)->si)
#define UPROBE_ARG3(ctx) ((ctx)->cx)
#define UPROBE_ARG4(ctx) ((ctx)->r8)
#define UPROBE_RETURN(ctx) ((ctx)->ax)
#define TLS_BASE thread.fsbase /* in task_struct */
#define GO_CURRENT(t, r) read_user(current_tls() + (t)->go.tls_g)
#define GO_CALLER(r, sp) read_user(sp)
#define GO_CALLER_AT 8
#define GO_FP_IS_LENT 1 /* assembly may use the frame pointer for anything, once the caller's is saved */
/* Go's own calling convention (src/cmd/compile/abi-internal.md). */
#define REGS_GO_G(r) REG(r, r14)
#define GO_G(ctx) ((ctx)->r14)
#define GO_FRAME(ctx) ((ctx)->bp)
#define GO_ARG0(ctx) ((ctx)->ax)
#define GO_ARG1(ctx) ((ctx)->bx)
#define GO_ARG2(ctx) ((ctx)->cx)
#define GO_ARG3(ctx) ((ctx)->di)

/* Is it the thread that pthread_self() calls self? Its struct pthread begins at the TLS base. */
static __always_inline bool is_thread(u64 tls, u64 self)
{
	return tls == self;
}

/*
 * Kernels built for FRED keep 16 bytes free above the registers (TOP_OF_KERNEL_STACK_PADDING, 6.9): what lies
 * where cs would be is the stack pointer then, which has no ring.
 */
static __always_inline struct pt_regs *below_top(void *top)
{
	struct pt_regs *regs = top;

	return (BPF_CORE_READ(regs, cs) & 3) == 3 ? regs : top - 16;
}

#elif defined(__TARGET_ARCH_arm64)

enum {
	NR_READ = 63,
	NR_WRITE = 64,
	NR_READV = 65,
	NR_WRITEV = 66,
	NR_SENDFILE = 71,
	NR_SENDTO = 206,
	NR_RECVFROM = 207,
	NR_SENDMSG = 211,
	NR_RECVMSG = 212,
	NR_FUTEX = 98,
};

#define REGS_SYSCALL(r) REG(r, syscallno)
#define REGS_ARG0(r) REG(r, orig_x0)
#define REGS_ARG1(r) REG(r, regs[1])
#define REGS_ARG2(r) REG(r, regs[2])
#define REGS_ARG3(r) REG(r, regs[3])
#define REGS_PC(r) REG(r, pc)
#define REGS_SP(r) REG(r, sp)
#define REGS_FP(r) REG(r, regs[29])
#define UPROBE_ARG0(ctx) ((ctx)->regs[0])
#define UPROBE_ARG1(ctx) ((ctx)->regs[1])
#define UPROBE_ARG3(ctx) ((ctx)->regs[3])
#define UPROBE_ARG4(ctx) ((ctx)->regs[4])
#define UPROBE_RETURN(ctx) ((ctx)->regs[0])
#define TLS_BASE thread.uw.tp_value /* in task_struct */
#define GO_CURRENT(t, r) REG(r, regs[28])
#define GO_CALLER(r, sp) REG(r, regs[30])
#define GO_CALLER_AT 0
#define GO_FP_IS_LENT 0
#define REGS_GO_G(r) REG(r, regs[28])
#define GO_G(ctx) ((ctx)->regs[28])
#define GO_FRAME(ctx) read_user((ctx)->regs[29]) /* the caller's: its stack ends where ours begins */
#define GO_ARG0(ctx) ((ctx)->regs[0])
#define GO_ARG1(ctx) ((ctx)->regs[1])
#define GO_ARG2(ctx) ((ctx)->regs[2])
#define GO_ARG3(ctx) ((ctx)->regs[3])

/*
 * Is it the thread that pthread_self() calls self? Its struct pthread ends at the TLS base. The size is the C
 * library's: from 200 bytes in musl to 1,700 and more in glibc, where no two begin within PTHREAD_REACH.
 */
#define PTHREAD_REACH 3072

static __always_inline bool is_thread(u64 tls, u64 self)
{
	return tls - self < PTHREAD_REACH;
}

static __always_inline struct pt_regs *below_top(void *top)
{
	return top;
}

#else
#error "architecture not supported"
#endif

/*
 * Whether the kernel knows the types of what it gives a tracepoint's program (tp_btf). The agent clears it
 * where the kernel has no BTF of its own: the same programs are then raw tracepoints, and all that they are
 * given is numbers.
 */
const volatile bool typed = true;

/* Bytes of a kernel stack (THREAD_SIZE); the agent sets it where pages are larger. */
const volatile u32 kernel_stack = 16384;

/* A field of an object; a load from a pointer whose type the kernel knows costs a twentieth of a read. */
#define LOAD(known, object, field) ((known) ? (object)->field : BPF_CORE_READ(object, field))

/* A field of an object that a tracepoint's program was given. */
#define GIVEN(object, field) LOAD(typed, object, field)

/* Does the kernel know bpf_task_pt_regs (5.15), which takes typed pointers only, and so gives the current
 * one? */
#define HAVE_TASK_REGS                                                                                       \
	(typed && bpf_core_enum_value_exists(enum bpf_func_id___have, BPF_FUNC_task_pt_regs___have))

/* A register of those that task_regs gives. */
#define REG(regs, register) LOAD(HAVE_TASK_REGS, regs, register)

/*
 * Registers that a task had when it entered the kernel; task is a typed pointer where there are any.
 * Before 5.15 there is no helper; they lie at the top of the kernel stack.
 */
static __always_inline struct pt_regs *task_regs(struct task_struct *task)
{
	if (HAVE_TASK_REGS)
		return (struct pt_regs *)bpf_task_pt_regs(task);
	return below_top(BPF_CORE_READ(task, stack) + kernel_stack - bpf_core_type_size(struct pt_regs));
}

/* Those of the current task. */
static __always_inline struct pt_regs *user_regs(void)
{
	if (HAVE_TASK_REGS)
		return task_regs(bpf_get_current_task_btf());
	return task_regs((struct task_struct *)bpf_get_current_task());
}

#define PF_EXITING 0x4 /* include/linux/sched.h */
#define PF_IO_WORKER 0x10

/*
 * The TLS base of the current task; 0: it has none of its own. One that ends has left its memory to other
 * threads by now, and one of io_uring's, which never leaves the kernel, has the base of the thread for which
 * it was made.
 */
static __always_inline u64 current_tls(void)
{
	const u32 without = PF_EXITING | PF_IO_WORKER;
	struct task_struct *task;

	if (HAVE_TASK_REGS) {
		task = bpf_get_current_task_btf();
		return task->flags & without ? 0 : task->TLS_BASE;
	}
	task = (struct task_struct *)bpf_get_current_task();
	return BPF_CORE_READ(task, flags) & without ? 0 : BPF_CORE_READ(task, TLS_BASE);
}

#endif
