package goroutine

import (
	"encoding/binary"

	"apm-ebpf/internal/target"
)

const (
	// framesMax is how many functions are kept of a stack, the innermost.
	framesMax = 256
	// stackFirst is how much of a stack is read at first, which is the whole of most, stackMax the most, in bytes.
	stackFirst = 4 << 10
	stackMax   = 256 << 10
)

// stacks are those that are read in one look. They keep their memory from one to the next.
type stacks struct {
	memory target.PartReader
	chains []chain
	parts  []target.Part
	buf    []byte
	pcs    []uint64
}

// chain are the frame pointers of a stack. On amd64 and arm64 alike one points to the caller's, which the return address
// follows.
type chain struct {
	low, high uint64 // of the stack in use
	pc, bp    uint64
	from, to  int // its program counters in stacks.pcs
	truncated bool
}

func (s *stacks) reset() { s.chains = s.chains[:0] }

// want notes that a goroutine's stack is to be read, and gives its place.
func (s *stacks) want(a *account, bp uint64) int {
	low := a.sp
	if framePointerBelow {
		low -= 8
	}
	s.chains = append(s.chains, chain{low: low, high: min(a.high, addressMax), pc: a.pc, bp: bp})
	return len(s.chains) - 1
}

// of gives the program counters of a stack, the innermost first, and whether outer ones are missing.
func (s *stacks) of(i int) (pcs []uint64, truncated bool) {
	c := &s.chains[i]
	return s.pcs[c.from:c.to], c.truncated
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
		} else if s.walk(c, c.low, p.Buf) {
			s.walkOn(c)
		}
		c.to = len(s.pcs)
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
		if len(s.pcs)-c.from == framesMax {
			c.truncated = true
			break
		}
		s.pcs = append(s.pcs, pc)
		c.low, c.bp = c.bp+16, caller // callers lie above
	}
	return false
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
