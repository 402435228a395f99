package target

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/capability"
)

// Memory reads the memory of the process with this PID. What it reads may be torn or hostile: callers bound sizes and
// check values.
type Memory int

// maxParts is UIO_MAXIOV, the most ranges that one process_vm_readv takes (Linux include/uapi/linux/uio.h).
const maxParts = 1024

// Part is one range of memory to read: len(Buf) bytes from Addr. OK tells afterwards whether all of Buf was read.
type Part struct {
	Addr uint64
	Buf  []byte
	OK   bool
}

// Read fills buf from addr. Errors: ErrGone; an error naming the capability; or that the range is not mapped.
func (m Memory) Read(buf []byte, addr uint64) error {
	if len(buf) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}
	remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: len(buf)}}
	n, err := unix.ProcessVMReadv(int(m), local, remote, 0)
	if err == nil && n < len(buf) {
		err = unix.EFAULT
	}
	if err != nil {
		return fmt.Errorf("read %d bytes at %#x of process %d: %w", len(buf), addr, int(m), explain(err))
	}
	return nil
}

// ReadParts fills every part it can with as few calls as possible, and marks those with OK. The error tells that no
// part can be read at all, because the process is gone or may not be read.
func (m Memory) ReadParts(parts []Part) error {
	r := PartReader{Memory: m}
	return r.Read(parts)
}

// PartReader reads parts of the memory of one process over and over. It keeps what it allocates.
type PartReader struct {
	Memory Memory
	local  []unix.Iovec
	remote []unix.RemoteIovec
}

// Read is as ReadParts.
func (r *PartReader) Read(parts []Part) error {
	for at := 0; at < len(parts); {
		r.local, r.remote = r.local[:0], r.remote[:0]
		for i := at; i < len(parts) && len(r.local) < maxParts; i++ {
			p := &parts[i]
			p.OK = false
			v := unix.Iovec{Len: uint64(len(p.Buf))}
			if len(p.Buf) > 0 {
				v.Base = &p.Buf[0]
			}
			r.local = append(r.local, v)
			r.remote = append(r.remote, unix.RemoteIovec{Base: uintptr(p.Addr), Len: len(p.Buf)})
		}
		n, err := unix.ProcessVMReadv(int(r.Memory), r.local, r.remote, 0)
		if err != nil && !errors.Is(err, unix.EFAULT) {
			return fmt.Errorf("read memory of process %d: %w", int(r.Memory), explain(err))
		}
		end := at + len(r.local)
		for at < end && n >= len(parts[at].Buf) {
			n -= len(parts[at].Buf)
			parts[at].OK = true
			at++
		}
		if at < end {
			at++ // the kernel stopped at this one
		}
	}
	return nil
}

// explain gives an error of the kernel the words that a user can act on.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return ErrGone
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return forbidden(err)
	}
	return err
}

// forbidden says what it takes to be allowed to look at a process.
func forbidden(err error) error {
	if missing := capability.Missing(capability.SysPtrace | capability.DACReadSearch); missing != 0 {
		return fmt.Errorf("%w: run as root or with %s", err, missing)
	}
	return fmt.Errorf("%w: a security module (AppArmor, SELinux, Yama) forbids it", err)
}
