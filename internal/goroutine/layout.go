// Package goroutine tells what the goroutines of another process do: it reads the Go runtime's own account of them out
// of the process's memory. It knows nothing of requests or names.
package goroutine

import "fmt"

// NoOffset marks a field that a version does not have.
const NoOffset = ^uint32(0)

// Layout tells where the runtime of one minor version of Go keeps what is read. Every offset is in bytes from the start
// of runtime.g or, from MCurG on, of what is named; NoOffset where the version has no such field. They are the same on amd64
// and arm64.
type Layout struct {
	Minor  int    // of Go 1
	Source string // what the offsets were read from

	StackHi     uint32 // stack.hi: the stack lies below
	M           uint32 // m: the thread that runs it, or nil
	SchedSP     uint32 // sched.sp, .pc, .bp: where it goes on, unless it runs or is in a system call
	SchedPC     uint32
	SchedLR     uint32 // sched.lr: arm64's link register there, if that was given up at the beginning of a function
	SchedBP     uint32
	SyscallSP   uint32 // syscallsp, syscallpc, syscallbp: where it entered the system call that it is in
	SyscallPC   uint32
	SyscallBP   uint32 // 1.23 and later
	Status      uint32 // atomicstatus, 4 bytes: a State and scanBit
	GoID        uint32 // goid, never used twice
	WaitReason  uint32 // waitreason, 1 byte: an index into reasons
	TrackingSeq uint32 // trackingSeq, 1 byte: one more each time it leaves off running
	ParentGoID  uint32 // parentGoid: that started it, 1.21 and later
	GoPC        uint32 // gopc: return address of the go statement that started it
	StartPC     uint32 // startpc: entry of its outermost function

	MCurG      uint32 // curg: the goroutine that runs on the thread
	MOldP      uint32 // oldp: the processor that the thread had when it made the system call that it is in
	PGoIDCache uint32 // goidcache, of runtime.p: the number that the next goroutine gets which is started there

	reasons []string // texts of runtime.waitReason, by number
}

// LayoutOf gives the layout of Go 1.minor. Errors: the version is not known.
func LayoutOf(minor int) (*Layout, error) {
	first, last := layouts[0].Minor, layouts[len(layouts)-1].Minor
	if minor < first || minor > last {
		return nil, fmt.Errorf("no layout of Go 1.%d is known, only of 1.%d to 1.%d", minor, first, last)
	}
	return &layouts[minor-first], nil
}

// SyscallsCount tells whether trackingSeq counts system calls too (entersyscall in Go src/runtime/proc.go).
func (l *Layout) SyscallsCount() bool { return l.Minor < 26 }

// reason gives the words in which Go tells why a goroutine waits, "" for none.
func (l *Layout) reason(number uint8) string {
	if int(number) >= len(l.reasons) {
		return ""
	}
	return l.reasons[number]
}
