package trace

import "golang.org/x/sys/unix"

var olderSyscalls = map[int]func(Wait) Reason{
	unix.SYS_FSTATAT: is(Disk),
}
