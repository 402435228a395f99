package goroutine

import (
	"cmp"
	"encoding/binary"
	"slices"

	"apm-ebpf/internal/target"
)

// allMax bounds the goroutines among which new ones are looked for, walkAtOnce those that are read together.
const (
	allMax     = 256 << 10
	walkAtOnce = 4096
)

// A goroutine whose starter is not watched yet is kept for so long, ns: a request may have started it that is to be found
// slow. orphansMax bounds how many are.
const (
	orphanAge  = 20_000_000
	orphansMax = 4096
)

// generations bounds how many goroutines that have started each other in a row are found in one walk.
const generations = 64

// all are the goroutines of the process, dead ones included: runtime.allgs. The runtime only ever appends to it, and
// uses what is dead again under another number.
type all struct {
	memory target.Memory
	slice  uint64 // address of the slice, 0: not known
	parent func(goid uint64) uint64
	known  []known
	count  int // that were read of the slice
	words  []byte

	gather   gather
	addrs    []uint64
	from     uint64 // where what is read begins in runtime.g
	size     int
	started  []started // by whom is not watched, or not yet
	keep     uint64    // for how long those are kept, ns
	now      uint64    // when the walk began
	complete uint64    // when a walk ended that missed none; 0: none has
}

// known is a runtime.g and the number of the goroutine that it was when it was last read.
type known struct{ g, id uint64 }

// started is a goroutine that was not there at an earlier walk.
type started struct {
	g, id, parent, goPC, startPC uint64
	before, at                   uint64 // when it was not there yet, and when it was
}

func newAll(mem target.Memory, l *Layout, slice uint64) all {
	a := all{memory: mem, slice: slice, keep: orphanAge, from: uint64(l.Status), size: int(l.StartPC + 8 - l.Status)}
	a.gather.memory.Memory = mem
	return a
}

// grow reads what was appended to the slice.
func (a *all) grow() (complete bool, err error) {
	var header [16]byte
	if err := a.memory.Read(header[:], a.slice); err != nil {
		return false, err
	}
	array, length := binary.LittleEndian.Uint64(header[:]), binary.LittleEndian.Uint64(header[8:])
	n := int(min(length, allMax))
	if n <= a.count {
		return length <= allMax, nil
	}
	size := 8 * (n - a.count)
	a.words = slices.Grow(a.words[:0], size)[:size]
	if array >= addressMax || a.memory.Read(a.words, array+uint64(8*a.count)) != nil {
		return false, nil // it is being moved: the next walk will find it
	}
	for i := 0; i < size; i += 8 {
		if g := binary.LittleEndian.Uint64(a.words[i:]); g != 0 && g < addressMax-a.from {
			a.known = append(a.known, known{g: g})
		}
	}
	a.count = n
	slices.SortFunc(a.known, func(x, y known) int { return cmp.Compare(x.g, y.g) })
	return length <= allMax, nil
}

// walk finds the goroutines that have come since the last walk.
func (a *all) walk(l *Layout) error {
	a.now = monotonic()
	a.started = slices.DeleteFunc(a.started, func(s started) bool { return a.now-s.at > a.keep })
	for some := range slices.Chunk(a.known, walkAtOnce) {
		a.addrs = a.addrs[:0]
		for _, k := range some {
			a.addrs = append(a.addrs, k.g+a.from)
		}
		if err := a.gather.read(a.addrs, a.size); err != nil {
			return err
		}
		for i := range some {
			if b := a.gather.of(i, a.size); b != nil {
				a.see(l, &some[i], b)
			}
		}
	}
	return nil
}

// see takes a goroutine as it is now.
func (a *all) see(l *Layout, k *known, b []byte) {
	word := func(at uint32) uint64 { return binary.LittleEndian.Uint64(b[at-l.Status:]) }
	id := word(l.GoID)
	if id == k.id {
		return
	}
	if state, ok := stateOf(binary.LittleEndian.Uint32(b)); ok && state == Dead || id == 0 {
		return // or being made
	}
	k.id = id
	s := started{g: k.g, id: id, goPC: word(l.GoPC), startPC: word(l.StartPC), before: a.complete, at: a.now}
	if l.ParentGoID != NoOffset {
		s.parent = word(l.ParentGoID)
	} else {
		s.parent = a.parent(id)
	}
	a.started = append(a.started, s)
}

// findStarted has the goroutines watched that were started by those that are.
func (r *Reader) findStarted() error {
	a := &r.all
	complete, err := a.grow()
	if err == nil {
		err = a.walk(r.layout)
	}
	if err != nil {
		return err
	}
	if complete {
		a.complete = monotonic()
	}
	r.findMarks()
	found := true
	for range generations { // a goroutine may come before the one that started it
		if !found {
			break
		}
		found = false
		a.started = slices.DeleteFunc(a.started, func(s started) bool {
			parent := r.watched[s.parent]
			if parent == nil {
				return false
			}
			if r.watched[s.id] == nil && !r.skips(&s) && !parent.startedBefore(&s) {
				r.add(&watched{
					account: account{id: s.id}, g: s.g, root: parent.root, parent: s.parent,
					goPC: s.goPC, startPC: s.startPC, seen: s.before,
				})
			}
			found = true
			return true
		})
	}
	if n := len(a.started); n > orphansMax {
		a.started = slices.Clone(a.started[n-orphansMax:])
	}
	return nil
}

func (r *Reader) skips(s *started) bool { return r.Skip != nil && r.Skip(s.goPC) }

// findMarks finds what a server starts for each request before its handler, which is skipped.
func (r *Reader) findMarks() {
	for i := range r.all.started {
		s := &r.all.started[i]
		if w := r.watched[s.parent]; w != nil && w.skipsFirst && r.skips(s) {
			w.mark, w.marked = s.id, s.at
		}
	}
}

// idBatch is how many numbers the runtime gives a processor to hand out in order, from a multiple of it plus one (Go
// src/runtime/runtime2.go, _GoidCacheBatch).
const idBatch = 16

// startedBefore tells that the goroutine started another for an earlier request, so soon before its end that nobody
// looked: its number comes before the mark's, from the same processor, and it was not missing since the mark was there.
func (w *watched) startedBefore(s *started) bool {
	return s.id < w.mark && (s.id-1)/idBatch == (w.mark-1)/idBatch && s.before < w.marked
}
