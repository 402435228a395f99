package goroutine

import "encoding/binary"

// account is what the runtime keeps of a goroutine.
type account struct {
	id         uint64
	state      State
	why, seq   uint8
	pc, sp, bp uint64 // where it goes on; of no meaning while it runs
	lr         uint64 // arm64: runnable
	high       uint64 // end of its stack
}

// accountSize is how many bytes of runtime.g tell an account.
func (l *Layout) accountSize() int {
	size := uint32(0)
	for _, at := range []uint32{
		l.StackHi, l.SchedSP, l.SchedPC, l.SchedLR, l.SchedBP, l.SyscallSP, l.SyscallPC, l.SyscallBP,
		l.Status, l.GoID, l.WaitReason, l.TrackingSeq,
	} {
		if at != NoOffset {
			size = max(size, at+8)
		}
	}
	return int(size)
}

// account gives the account of the goroutine with a number; it is dead where its memory is another's. False: it is not
// readable, or its stack is being copied.
func (l *Layout) account(g []byte, id uint64) (a account, ok bool) {
	if g == nil {
		return a, false
	}
	word := func(at uint32) uint64 { return binary.LittleEndian.Uint64(g[at:]) }
	a.id = id
	if word(l.GoID) != id {
		a.state = Dead
		return a, true
	}
	if a.state, ok = stateOf(binary.LittleEndian.Uint32(g[l.Status:])); !ok || a.state == Dead {
		return a, ok
	}
	a.seq, a.high = g[l.TrackingSeq], word(l.StackHi)
	switch a.state {
	case Running:
		return a, true
	case Runnable:
		a.lr = word(l.SchedLR)
	case Waiting:
		a.why = g[l.WaitReason]
	case Syscall:
		a.pc, a.sp = word(l.SyscallPC), word(l.SyscallSP)
		if l.SyscallBP != NoOffset {
			a.bp = word(l.SyscallBP)
		}
		return a, true
	}
	a.pc, a.sp, a.bp = word(l.SchedPC), word(l.SchedSP), word(l.SchedBP)
	return a, true
}
