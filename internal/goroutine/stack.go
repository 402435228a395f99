package goroutine

import (
	"encoding/binary"
	"slices"

	"apm-ebpf/internal/target"
)

const (
	// framesLeaf is how many functions are kept of a stack from the innermost on, framesRoot from the outermost on.
	framesLeaf = 192
	framesRoot = 64
	// stackFirst is how much of a stack is read at first, which is the whole of most, stackMax the most, in bytes.
	stackFirst = 4 << 10
	stackMax   = 256 << 10
)

// stacks are those that are read in one look. They keep their memory from one to the next.
type stacks struct {
	memory       target.PartReader
	interrupted  func(preempt, pc uint64) (above uint64, ok bool) // Reader.Interrupted
	spDelta      func(pc uint64) int32                            // Reader.SPDelta
	calledBack   func(pc uint64) bool                             // Reader.CalledBack
	callbackSkip uint64
	chains       []chain
	parts        []target.Part
	buf          []byte
	pcs          []uint64
}

// chain are the frame pointers of a stack. On amd64 and arm64 alike one points to the caller's, which the return address
// follows.
type chain struct {
	low, high uint64 // of the stack in use
	pc, bp    uint64
	lr        uint64 // arm64: where a function without a frame returns to
	from, to  int    // its program counters in stacks.pcs
	missing   int    // between those of the leaf and of the root
	ready     bool
	truncated bool
}

func (s *stacks) reset() { s.chains = s.chains[:0] }

// want notes that a goroutine's stack is to be read, and gives its place.
func (s *stacks) want(a *account, bp uint64) int {
	low := a.sp
	if framePointerBelow {
		low -= 8
	}
	s.chains = append(s.chains, chain{low: low, high: min(a.high, addressMax), pc: a.pc, bp: bp, lr: a.lr, ready: a.state == Runnable})
	return len(s.chains) - 1
}

// of gives the program counters of a stack, the innermost first, how many come before a gap, 0 where there is none, and
// whether the outermost ones are missing.
func (s *stacks) of(i int) (pcs []uint64, gap int, truncated bool) {
	c := &s.chains[i]
	if c.missing > 0 {
		gap = framesLeaf
	}
	return s.pcs[c.from:c.to], gap, c.truncated
}

// read reads the stacks that are wanted. The error tells that none can be read at all.
func (s *stacks) read() error {
	if need := len(s.chains) * stackFirst; len(s.buf) < need {
		s.buf = make([]byte, need)
	}
	s.parts, s.pcs = s.parts[:0], s.pcs[:0]
	for i := range s.chains {
		c := &s.chains[i]
		n := min(c.high-min(c.low, c.high), stackFirst)
		s.parts = append(s.parts, target.Part{Addr: c.low, Buf: s.buf[i*stackFirst:][:n]})
	}
	if err := s.memory.Read(s.parts); err != nil {
		return err
	}
	for i := range s.chains {
		c, p := &s.chains[i], &s.parts[i]
		c.from = len(s.pcs)
		s.pcs = append(s.pcs, c.pc)
		if !p.OK {
			c.truncated = true
			c.to = len(s.pcs)
			continue
		}
		if c.ready && s.spDelta != nil && s.spDelta(c.pc) == 0 {
			s.keep(c, c.caller(p.Buf))
		}
		if s.walk(c, c.low, p.Buf) {
			s.walkOn(c)
		}
		if c.to = len(s.pcs); c.missing > 0 {
			rotate(s.pcs[c.from+framesLeaf:c.to], c.missing%framesRoot)
		}
	}
	return nil
}

// walk follows the chain in what was read of the stack from an address on. It gives whether the chain goes on beyond.
func (s *stacks) walk(c *chain, at uint64, stack []byte) (more bool) {
	for c.bp != 0 {
		if c.bp < c.low || c.bp%8 != 0 || c.bp >= c.high || c.high-c.bp < 16 {
			c.truncated = true
			break
		}
		if c.bp < at || c.bp-at+16 > uint64(len(stack)) {
			return true
		}
		words := stack[c.bp-at:]
		caller, pc := binary.LittleEndian.Uint64(words), binary.LittleEndian.Uint64(words[8:])
		if pc == 0 {
			break
		}
		s.keep(c, pc)
		if s.calledBack != nil && s.calledBack(pc) {
			if caller = c.bp + s.callbackSkip; caller >= c.high { // a thread of C's has nothing there
				break
			}
		}
		if c.ready && len(s.pcs)-c.from == interruptedAt && s.interrupted != nil {
			s.interrupt(c)
		}
		c.low, c.bp = c.bp+16, caller // callers lie above
	}
	return false
}

// caller gives where a function returns to that left off running before it made its frame, as those do that find at their
// beginning that others are to run (runtime.morestack). stack is what was read from the stack pointer on.
func (c *chain) caller(stack []byte) uint64 {
	if framePointerBelow || len(stack) < 8 {
		return c.lr
	}
	return binary.LittleEndian.Uint64(stack)
}

// interruptedAt is how many program counters there are up to that at which a signal has interrupted a goroutine: those of
// runtime.asyncPreempt2 and asyncPreempt come before.
const interruptedAt = 3

// interrupt takes that the program counter which was kept last may be one at which the goroutine was interrupted, while the
// chain is at the frame of asyncPreempt. It is no return address then, and where its function had no frame the chain lacks
// the caller.
func (s *stacks) interrupt(c *chain) {
	preempt, pc := s.pcs[len(s.pcs)-2], &s.pcs[len(s.pcs)-1]
	above, ok := s.interrupted(preempt, *pc)
	if !ok {
		return
	}
	*pc++ // as if it were
	var word [8]byte
	if at := c.bp + above; above != 0 && at < c.high && s.memory.Memory.Read(word[:], at) == nil {
		s.keep(c, binary.LittleEndian.Uint64(word[:]))
	}
}

// keep adds a return address: those next to the root as a ring, as it is not known where the root is.
func (s *stacks) keep(c *chain, pc uint64) {
	if len(s.pcs)-c.from < framesLeaf+framesRoot {
		s.pcs = append(s.pcs, pc)
		return
	}
	s.pcs[c.from+framesLeaf+c.missing%framesRoot] = pc
	c.missing++
}

// rotate makes the entry at first the first.
func rotate(ring []uint64, first int) {
	slices.Reverse(ring[:first])
	slices.Reverse(ring[first:])
	slices.Reverse(ring)
}

// walkOn follows a chain beyond what was read at first.
func (s *stacks) walkOn(c *chain) {
	var buf [stackFirst]byte
	bottom := c.low
	for more := true; more; {
		n := min(c.high-c.bp, stackFirst)
		if c.bp-bottom > stackMax || s.memory.Memory.Read(buf[:n], c.bp) != nil {
			c.truncated = true
			return
		}
		more = s.walk(c, c.bp, buf[:n])
	}
}
