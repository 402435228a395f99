package trace

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestReason(t *testing.T) {
	const interruptible, killable, none = 0x01, 0x100, -1
	tests := []struct {
		name string
		wait Wait
		want Reason
	}{
		{"preempted", Wait{Syscall: unix.SYS_FUTEX}, RunQueue},
		{"a lock", Wait{State: interruptible, Syscall: unix.SYS_FUTEX}, Lock},
		{"the interpreter lock", Wait{State: interruptible, Syscall: unix.SYS_FUTEX, GIL: true}, GIL},
		{"a sleep by select", Wait{State: interruptible, Syscall: unix.SYS_PSELECT6}, Sleep},
		{"a pipe", Wait{State: interruptible, Syscall: unix.SYS_READ, Mode: unix.S_IFIFO}, Pipe},
		{"a vfork", Wait{State: taskUninterruptible | killable, Syscall: unix.SYS_CLONE}, Child},
		{"a page", Wait{State: taskUninterruptible | killable, Syscall: none}, Disk},
		{"frozen amid its work", Wait{State: interruptible, Syscall: none}, Blocked},
		{"stopped amid its work", Wait{State: taskStopped | killable, Syscall: none}, Blocked},
		{"stopped in a wait for a lock", Wait{State: taskStopped | killable, Syscall: unix.SYS_FUTEX}, Blocked},
		{"stopped by a debugger", Wait{State: taskTraced | killable, Syscall: unix.SYS_CLOCK_NANOSLEEP}, Blocked},
	}
	for _, test := range tests {
		if got := test.wait.Reason(); got != test.want {
			t.Errorf("%s: reason %d, want %d", test.name, got, test.want)
		}
	}
}
