package trace

import "golang.org/x/sys/unix"

var olderSyscalls = map[int]func(Wait) Reason{
	unix.SYS_SELECT:     onDescriptors(0),
	unix.SYS_POLL:       onDescriptors(1),
	unix.SYS_EPOLL_WAIT: is(Poll),
	unix.SYS_OPEN:       is(Disk),
	unix.SYS_STAT:       is(Disk),
	unix.SYS_LSTAT:      is(Disk),
	unix.SYS_NEWFSTATAT: is(Disk),
	unix.SYS_UNLINK:     is(Disk),
	unix.SYS_RENAME:     is(Disk),
	unix.SYS_VFORK:      is(Child),
}
