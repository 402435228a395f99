package trace

import "golang.org/x/sys/unix"

// Wait is what is known of a thread at the moment it leaves its CPU.
type Wait struct {
	State   uint32    // task state, 0: preempted
	Syscall int       // number, -1: not in one
	Args    [2]uint64 // its first two arguments
	Mode    uint32    // file type of the descriptor Args[0] (S_IFMT), 0: none
	GIL     bool      // Args[0] lies among the words of the interpreter lock
}

// Task states of the kernel's include/linux/sched.h.
const (
	taskUninterruptible = 0x02
	taskStopped         = 0x04 // by a signal
	taskTraced          = 0x08 // by a debugger
	taskDead            = 0x80
)

// ForEver tells that the thread has ended.
func (w Wait) ForEver() bool { return w.State&taskDead != 0 }

// Reason tells what the thread waits for.
func (w Wait) Reason() Reason {
	if w.State == 0 {
		return RunQueue
	}
	if w.State&(taskStopped|taskTraced) != 0 {
		return Blocked // whatever it waited for before
	}
	why := syscallReasons[w.Syscall]
	if why == nil {
		why = olderSyscalls[w.Syscall]
	}
	if why != nil {
		return why(w)
	}
	if w.Syscall < 0 && w.State&taskUninterruptible != 0 {
		return Disk // a page fault
	}
	return Blocked
}

func is(why Reason) func(Wait) Reason { return func(Wait) Reason { return why } }

func onFutex(w Wait) Reason {
	if w.GIL {
		return GIL
	}
	return Lock
}

// onDescriptors tells a poll from a sleep: how many descriptors are asked for is the argument at n.
func onDescriptors(n int) func(Wait) Reason {
	return func(w Wait) Reason {
		if w.Args[n] == 0 {
			return Sleep
		}
		return Poll
	}
}

// onFile tells what a transfer waits for by the kind of file.
func onFile(socket Reason) func(Wait) Reason {
	return func(w Wait) Reason {
		switch w.Mode {
		case unix.S_IFSOCK:
			return socket
		case unix.S_IFIFO:
			return Pipe
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
			return Disk
		}
		return Blocked
	}
}

// syscallReasons are the system calls of every architecture; olderSyscalls those that not all have.
var syscallReasons = map[int]func(Wait) Reason{
	unix.SYS_NANOSLEEP:       is(Sleep),
	unix.SYS_CLOCK_NANOSLEEP: is(Sleep),
	unix.SYS_PSELECT6:        onDescriptors(0),
	unix.SYS_PPOLL:           onDescriptors(1),
	unix.SYS_EPOLL_PWAIT:     is(Poll),
	unix.SYS_EPOLL_PWAIT2:    is(Poll),
	unix.SYS_FUTEX:           onFutex,
	unix.SYS_FUTEX_WAITV:     is(Lock),
	unix.SYS_FLOCK:           is(Lock),
	unix.SYS_FCNTL:           is(Lock), // F_SETLKW is the only one that waits
	unix.SYS_SEMOP:           is(Lock),
	unix.SYS_SEMTIMEDOP:      is(Lock),
	unix.SYS_RECVFROM:        is(SocketRecv),
	unix.SYS_RECVMSG:         is(SocketRecv),
	unix.SYS_RECVMMSG:        is(SocketRecv),
	unix.SYS_SENDTO:          is(SocketSend),
	unix.SYS_SENDMSG:         is(SocketSend),
	unix.SYS_SENDMMSG:        is(SocketSend),
	unix.SYS_SENDFILE:        onFile(SocketSend),
	unix.SYS_CONNECT:         is(SocketConnect),
	unix.SYS_ACCEPT:          is(SocketAccept),
	unix.SYS_ACCEPT4:         is(SocketAccept),
	unix.SYS_READ:            onFile(SocketRecv),
	unix.SYS_READV:           onFile(SocketRecv),
	unix.SYS_WRITE:           onFile(SocketSend),
	unix.SYS_WRITEV:          onFile(SocketSend),
	unix.SYS_SPLICE:          onFile(SocketRecv),
	unix.SYS_PREAD64:         is(Disk),
	unix.SYS_PREADV:          is(Disk),
	unix.SYS_PWRITE64:        is(Disk),
	unix.SYS_PWRITEV:         is(Disk),
	unix.SYS_FSYNC:           is(Disk),
	unix.SYS_FDATASYNC:       is(Disk),
	unix.SYS_OPENAT:          is(Disk),
	unix.SYS_OPENAT2:         is(Disk),
	unix.SYS_STATX:           is(Disk),
	unix.SYS_GETDENTS64:      is(Disk),
	unix.SYS_UNLINKAT:        is(Disk),
	unix.SYS_RENAMEAT2:       is(Disk),
	unix.SYS_WAIT4:           is(Child),
	unix.SYS_WAITID:          is(Child),
	unix.SYS_CLONE:           is(Child), // until the child of a vfork has its program
	unix.SYS_CLONE3:          is(Child),
}
