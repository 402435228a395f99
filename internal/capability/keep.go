package capability

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Keep gives up all others than those, for good: in every thread, and in whatever the process may execute.
func Keep(those Set) error {
	_, permitted, _ := get()
	those &= permitted
	header, data := thread(), split(those, those, 0)
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno == 0 {
		_, _, errno = syscall.AllThreadsSyscall(unix.SYS_CAPSET,
			uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0)
	}
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}

// Without runs do in a thread that can make no use of those meanwhile.
func Without(those Set, do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	effective, permitted, inheritable := get()
	if err := set(effective&^those, permitted, inheritable); err != nil {
		return err
	}
	err := do()
	if err := set(effective, permitted, inheritable); err != nil {
		return err
	}
	return err
}

func set(effective, permitted, inheritable Set) error {
	header, data := thread(), split(effective, permitted, inheritable)
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}

func split(effective, permitted, inheritable Set) (data [2]unix.CapUserData) {
	for i := range data {
		shift := 32 * i
		data[i] = unix.CapUserData{
			Effective:   uint32(effective >> shift),
			Permitted:   uint32(permitted >> shift),
			Inheritable: uint32(inheritable >> shift),
		}
	}
	return data
}
