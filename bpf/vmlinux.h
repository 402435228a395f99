/*
 * The kernel types that the programs read, by hand: only the fields used, in any order. CO-RE finds
 * them in the running kernel's BTF, so offsets here mean nothing. A name after ___ is a flavour of
 * the same type in another kernel.
 */
#ifndef APM_VMLINUX_H
#define APM_VMLINUX_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u8 u8;
typedef __s8 s8;
typedef __u16 u16;
typedef __s16 s16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef int pid_t;
typedef _Bool bool;

enum { false = 0, true = 1 };

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
};

/* What bpf_ringbuf_query can tell. */
enum {
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_RING_SIZE = 1,
};

/* Whether a helper exists is asked of the kernel's own enum, never of its version. */
enum bpf_func_id___have {
	BPF_FUNC_task_pt_regs___have = 175, /* 5.15 */
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)

struct pt_regs {
	unsigned long r14, bx, cx, r10, r9, r8, dx, si, di, ax, orig_ax, ip, cs, sp, bp;
};

struct thread_struct {
	unsigned long fsbase;
};

#elif defined(__TARGET_ARCH_arm64)

struct user_pt_regs {
	u64 regs[31];
	u64 sp, pc, pstate;
};

struct pt_regs {
	u64 regs[31];
	u64 sp, pc, pstate;
	u64 orig_x0;
	s32 syscallno;
};

struct thread_struct {
	struct {
		unsigned long tp_value;
	} uw;
};

#endif

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct socket;

struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol;
	struct socket *sk_socket;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct unix_address;

struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
};

struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct socket {
	struct sock *sk;
	struct file *file;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

struct task_struct {
	void *stack;
	pid_t pid;
	pid_t tgid;
	unsigned int __state;
	unsigned int flags;
	u64 start_time; /* CLOCK_MONOTONIC, ns */
	struct files_struct *files;
	struct signal_struct *signal;
	struct thread_struct thread;
};

/* Up to 5.13 (renamed by 2f064a59a11f). */
struct task_struct___5_13 {
	volatile long state;
};

struct hrtimer {
	void *function;
};

struct linux_binprm;

#pragma clang attribute pop

struct bpf_raw_tracepoint_args {
	u64 args[0];
};

struct bpf_perf_event_data;

#endif
