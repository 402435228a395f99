package goroutine

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"unsafe"
)

// hostile is memory of this process that pretends to be a Go runtime's.
type hostile struct {
	layout *Layout
	header [2]uint64 // runtime.allgs
	gs     []uint64
	memory []byte // every runtime.g, 512 bytes each, and stacks behind them
}

const hostileGs = 2000

// newHostile makes memory that stays where it is until the test ends, as it is read by its addresses alone.
func newHostile(t testing.TB) *hostile {
	h := &hostile{layout: &layouts[len(layouts)-1], memory: make([]byte, hostileGs*512+1<<16)}
	for i := range hostileGs {
		h.gs = append(h.gs, h.address(i*512))
	}
	t.Cleanup(func() { runtime.KeepAlive(h) })
	h.header = [2]uint64{uint64(uintptr(unsafe.Pointer(&h.gs[0]))), hostileGs}
	return h
}

func (h *hostile) address(at int) uint64 { return uint64(uintptr(unsafe.Pointer(&h.memory[at]))) }

func (h *hostile) set(i int, field uint32, value uint64) {
	binary.LittleEndian.PutUint64(h.memory[i*512+int(field):], value)
}

func (h *hostile) reader() *Reader {
	return NewReader(os.Getpid(), h.layout, uint64(uintptr(unsafe.Pointer(&h.header[0]))))
}

// TestChainOfStarts has each goroutine be started by the next.
func TestChainOfStarts(t *testing.T) {
	h := newHostile(t)
	for i := range hostileGs {
		h.set(i, h.layout.Status, gRunning)
		h.set(i, h.layout.GoID, uint64(hostileGs-i))
		h.set(i, h.layout.ParentGoID, uint64(hostileGs-i-1))
	}
	r := h.reader()
	r.Watch(1, h.gs[hostileGs-1], 0)
	look(t, r)
	if n := r.Watching(); n != 1+generations {
		t.Errorf("%d are watched", n)
	}
}

// TestEndlessStack has frame pointers that go up for ever, in circles, and out of the stack.
func TestEndlessStack(t *testing.T) {
	h := newHostile(t)
	stack := hostileGs * 512
	low := h.address(stack)
	for at := 0; at+16 <= 1<<16; at += 16 {
		binary.LittleEndian.PutUint64(h.memory[stack+at:], low+uint64(at)+16)
		binary.LittleEndian.PutUint64(h.memory[stack+at+8:], 1)
	}
	binary.LittleEndian.PutUint64(h.memory[stack+1<<16-16:], low) // a circle in the end
	tests := []struct {
		sp, bp, high uint64
		frames       int
	}{
		{low, low, low + 1<<16, framesLeaf + framesRoot},
		{low, low, ^uint64(0), framesLeaf + framesRoot},
		{low + 64, low, low + 1<<16, 1}, // below the stack pointer
		{low, low + 4, low + 1<<16, 1},
		{low, low, low + 40, 3},
		{low, low, low - 8, 1},
		{0, low, ^uint64(0), 1},
		{low, ^uint64(0) - 7, ^uint64(0), 1},
	}
	for _, test := range tests {
		h.set(0, h.layout.Status, gWaiting)
		h.set(0, h.layout.GoID, 7)
		h.set(0, h.layout.SchedPC, 1)
		h.set(0, h.layout.SchedSP, test.sp)
		h.set(0, h.layout.SchedBP, test.bp)
		h.set(0, h.layout.StackHi, test.high)
		r := h.reader()
		r.Watch(7, h.gs[0], 0)
		if s := look(t, r)[7]; len(s.PCs) != test.frames || !s.Truncated {
			t.Errorf("%x: %d frames, truncated: %v", test, len(s.PCs), s.Truncated)
		}
	}
}

// TestRandomMemory reads what makes no sense.
func TestRandomMemory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	h := newHostile(t)
	for range 5 {
		for i := range hostileGs {
			for at := 0; at < 512; at += 8 {
				value := random.Uint64() >> random.IntN(64)
				if random.IntN(4) == 0 {
					value = h.address(random.IntN(len(h.memory)))
				}
				binary.LittleEndian.PutUint64(h.memory[i*512+at:], value)
			}
			h.set(i, h.layout.Status, uint64(random.IntN(12)))
			if random.IntN(2) == 0 {
				h.set(i, h.layout.GoID, uint64(i))
				h.set(i, h.layout.ParentGoID, uint64(random.IntN(hostileGs)))
			}
		}
		h.header[1] = uint64(random.IntN(hostileGs)) << random.IntN(50)
		r := h.reader()
		for i := range 100 {
			r.Watch(uint64(i), h.gs[i], 0)
		}
		for range 3 {
			look(t, r)
		}
	}
}
