package probe

import (
	"testing"
	"unsafe"
)

// stackEvent lays out an event as the kernel programs write it: only the frames that were kept.
func stackEvent(t *testing.T, depth int) *Event {
	t.Helper()
	kept := min(depth, framesLeaf+framesRoot)
	raw := make([]uint64, eventMax/8+1)
	s := (*StackEvent)(unsafe.Pointer(&raw[0]))
	s.Event.Kind, s.Depth = uint32(KindSample), uint32(depth)
	for i := range depth {
		at := i
		if at >= framesLeaf {
			at = framesLeaf + (i-framesLeaf)%framesRoot
		}
		s.Frames[at].Code = uint64(i)
	}
	size := int(unsafe.Offsetof(s.Frames)) + kept*int(unsafe.Sizeof(Frame{}))
	e, ok := Decode(unsafe.Slice((*byte)(unsafe.Pointer(&raw[0])), eventMax)[:size])
	if !ok {
		t.Fatalf("an event of %d frames is refused", depth)
	}
	return &e
}

func TestFrames(t *testing.T) {
	for _, depth := range []int{0, 1, framesLeaf - 1, framesLeaf, framesLeaf + 1, framesLeaf + framesRoot,
		framesLeaf + framesRoot + 1, framesLeaf + 2*framesRoot, 1000} {
		leaf, root, missing := stackEvent(t, depth).Frames()
		if got := len(leaf) + missing + len(root); got != depth {
			t.Errorf("depth %d: %d frames next to the leaf, %d missing, %d next to the root", depth, len(leaf), missing, len(root))
		}
		for i, f := range leaf {
			if f.Code != uint64(i) {
				t.Fatalf("depth %d: frame %d from the leaf is %d", depth, i, f.Code)
			}
		}
		for i, f := range root {
			if want := depth - len(root) + i; f.Code != uint64(want) {
				t.Fatalf("depth %d: frame %d of those next to the root is %d, want %d", depth, i, f.Code, want)
			}
		}
	}
}

func TestDecodeRefusesShortEvents(t *testing.T) {
	raw := make([]uint64, eventMax/8+1)
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&raw[0])), eventMax)
	for _, kind := range []Kind{KindSample, KindOpen, KindRecv, KindWake} {
		(*apmEvent)(unsafe.Pointer(&raw[0])).Kind = uint32(kind)
		for _, size := range []int{0, 8, int(unsafe.Sizeof(apmEvent{})) - 1} {
			if _, ok := Decode(bytes[:size]); ok {
				t.Errorf("%d bytes are taken for an event of kind %d", size, kind)
			}
		}
		e, ok := Decode(bytes[:eventMax])
		if !ok || e.Kind != kind {
			t.Errorf("a whole event of kind %d is refused", kind)
		}
	}
}

// FuzzData: whatever lengths an event claims, no more is told than it has.
func FuzzData(f *testing.F) {
	f.Add(uint32(0), uint32(0), uint16(0))
	f.Add(uint32(4096), uint32(32), uint16(4128))
	f.Add(^uint32(0), ^uint32(0), uint16(100))
	f.Fuzz(func(t *testing.T, head, tail uint32, kept uint16) {
		raw := make([]uint64, eventMax/8+1)
		io := (*IOEvent)(unsafe.Pointer(&raw[0]))
		io.Event.Kind, io.Head, io.Tail = uint32(KindRecv), head, tail
		size := min(int(unsafe.Offsetof(io.Data))+int(kept), eventMax)
		e, ok := Decode(unsafe.Slice((*byte)(unsafe.Pointer(&raw[0])), eventMax)[:size])
		if !ok {
			t.Skip()
		}
		h, l := e.Data()
		if len(h)+len(l) > int(kept) {
			t.Fatalf("%d and %d bytes of %d", len(h), len(l), kept)
		}
	})
}
