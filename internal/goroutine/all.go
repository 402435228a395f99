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

// Of more goroutines than recentMax a walk reads those that were among the last so many to begin or die, or among four times
// as many if they are dead, and one in restShare of the others by turns. The runtime uses again first what has died last
// (gfget in Go src/runtime/proc.go), and idle connections may be many.
const (
	recentMax = 512
	restShare = 32
)

// all are the goroutines of the process, dead ones included: runtime.allgs. The runtime only ever appends to it, and
// uses what is dead again under another number.
type all struct {
	memory target.Memory
	slice  uint64 // address of the slice, 0: not known
	parent func(goid uint64) uint64
	known  []known
	count  int // that were read of the slice
	words  []byte
	recent []int  // of known, ascending
	turn   int    // of known: the next of the others to be read
	stale  bool   // one of the others was used again: all are to be read
	begun  uint64 // how many were seen to begin or die

	gather   gather
	addrs    []uint64
	reads    []int  // those of known that are read together
	from     uint64 // where what is read begins in runtime.g
	size     int
	started  []started // by whom is not watched, or not yet
	keep     uint64    // for how long those are kept, ns
	now      uint64    // when the walk began
	complete uint64    // when a walk began that missed none of the slice; 0: none has
}

// known is a runtime.g as it was when it was last read.
type known struct {
	g, id uint64 // the goroutine's number, 0: none yet
	dead  bool
	died  uint64 // number of the last one that was found dead and was never read alive
	begun uint64 // all.begun when it began or died, 0: before the first walk
	seen  uint64 // when it was read; before that it was not in the slice, 0: not known when
	read  bool
}

// started is a goroutine that was not there at an earlier walk.
type started struct {
	g, id, parent, goPC, startPC uint64
	before, at                   uint64 // when it was not there yet, and when it was, or had been
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
			a.known = append(a.known, known{g: g, seen: a.complete})
		}
	}
	a.count = n
	slices.SortFunc(a.known, func(x, y known) int { return cmp.Compare(x.g, y.g) })
	a.recent = a.recent[:0]
	for i := range a.known {
		if a.isRecent(i) {
			a.recent = append(a.recent, i)
		}
	}
	return length <= allMax, nil
}

// walk finds the goroutines that have come since the last walk.
func (a *all) walk(l *Layout) error {
	a.now = monotonic()
	a.started = slices.DeleteFunc(a.started, func(s started) bool { return a.now-s.at > a.keep })
	a.choose()
	for some := range slices.Chunk(a.reads, walkAtOnce) {
		if err := a.readSome(l, some); err != nil {
			return err
		}
	}
	return nil
}

// choose decides which are read.
func (a *all) choose() {
	slices.Sort(a.recent)
	a.recent = slices.DeleteFunc(slices.Compact(a.recent), func(i int) bool { return !a.isRecent(i) })
	from, to := a.turn, min(a.turn+(len(a.known)+restShare-1)/restShare, len(a.known))
	if a.turn = to; to == len(a.known) {
		a.turn = 0
	}
	if a.stale || len(a.known) <= recentMax {
		from, to = 0, len(a.known)
	}
	a.stale = false
	before, _ := slices.BinarySearch(a.recent, from)
	after, _ := slices.BinarySearch(a.recent, to)
	a.reads = append(a.reads[:0], a.recent[:before]...)
	for i := from; i < to; i++ {
		a.reads = append(a.reads, i)
	}
	a.reads = append(a.reads, a.recent[after:]...)
}

// isRecent tells a goroutine that is read in every walk.
func (a *all) isRecent(i int) bool {
	k := &a.known[i]
	last := uint64(recentMax)
	if k.dead {
		last *= 4
	}
	return !k.read || k.begun != 0 && k.begun+last > a.begun
}

// readSome reads some of known.
func (a *all) readSome(l *Layout, some []int) error {
	a.addrs = a.addrs[:0]
	for _, i := range some {
		a.addrs = append(a.addrs, a.known[i].g+a.from)
	}
	if err := a.gather.read(a.addrs, a.size); err != nil {
		return err
	}
	for k, i := range some {
		if b := a.gather.of(k, a.size); b != nil {
			a.see(l, i, b)
		}
	}
	return nil
}

// see takes a goroutine as it is now.
func (a *all) see(l *Layout, i int, b []byte) {
	k := &a.known[i]
	word := func(at uint32) uint64 { return binary.LittleEndian.Uint64(b[at-l.Status:]) }
	id, before := word(l.GoID), k.seen
	state, ok := stateOf(binary.LittleEndian.Uint32(b))
	dead := ok && state == Dead
	begins := !dead && id != k.id && id != 0 // else it may be being made
	passed := dead && id != k.id && id != k.died && id != 0 && before != 0
	a.stale = a.stale || begins && !a.isRecent(i)
	if dead && !k.dead || begins && before != 0 || passed {
		a.begun++
		k.begun = a.begun
		a.recent = append(a.recent, i)
	}
	k.dead, k.seen, k.read = dead, a.now, true
	switch {
	case begins:
		k.id = id
	case passed:
		k.died = id
	default:
		return
	}
	s := started{g: k.g, id: id, goPC: word(l.GoPC), startPC: word(l.StartPC), before: before, at: a.now}
	if l.ParentGoID != NoOffset {
		s.parent = word(l.ParentGoID)
	} else {
		s.parent = a.parent(id)
	}
	a.started = append(a.started, s)
}

// isNew tells a goroutine that was missing at an earlier walk, and was started by one that is not watched yet.
func (a *all) isNew(id uint64) bool {
	return slices.ContainsFunc(a.started, func(s started) bool { return s.id == id && s.before != 0 })
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
		a.complete = a.now
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
			if r.watched[s.id] == nil && !r.skips(&s) && !r.isSystem(&s) && !r.startedBefore(parent, &s) {
				r.add(&watched{
					account: account{id: s.id}, g: s.g, root: parent.root, parent: s.parent,
					goPC: s.goPC, startPC: s.startPC, seen: s.before, absent: s.before, found: s.at,
				})
				if r.Follow != nil {
					r.Follow(s.id)
				}
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

func (r *Reader) isSystem(s *started) bool { return r.System != nil && r.System(s.startPC) }

// findMarks finds what a server starts for each request before its handler, which is skipped.
func (r *Reader) findMarks() {
	for i := range r.all.started {
		s := &r.all.started[i]
		if w := r.watched[s.parent]; w != nil && w.skipsFirst && r.skips(s) {
			w.mark, w.marked = s.id, s.at
		}
	}
}

// idBatch is how many numbers the runtime gives a processor to hand out in order (Go src/runtime/runtime2.go, _GoidCacheBatch).
const idBatch = 16

// startedBefore tells that a goroutine started another for an earlier request, so soon before its end that nobody looked: its
// number comes before the mark's, from the same processor, and it was not missing since the mark was there; or not after the
// last one's of an earlier request.
func (r *Reader) startedBefore(w *watched, s *started) bool {
	if s.id < w.mark && r.batch(s.id) == r.batch(w.mark) && s.before < w.marked {
		return true
	}
	for _, p := range r.passed[s.parent] {
		if s.id < p.end && s.id+idBatch >= p.end {
			return s.id < p.next
		}
	}
	return false
}

// batch tells batches of numbers apart. The first begins at 1, but threads that may come from C take numbers singly (Go
// src/runtime/proc.go, oneNewExtraM).
func (r *Reader) batch(id uint64) uint64 { return (id + idBatch - r.batchEnd%idBatch) / idBatch }

// passed are the batches of the processors on which a goroutine left off with a request, the latest first: what it started
// before has lower numbers than next.
type passed [4]struct{ next, end uint64 }

// passedMax bounds for how many goroutines that is kept in mind.
const passedMax = 4096

// Passed tells that a goroutine has left off with a request, on a processor that gives those which are started there the
// numbers from next to end.
func (r *Reader) Passed(goid, next, end uint64) {
	r.batchEnd = end
	p, known := r.passed[goid]
	if !known && len(r.passed) >= passedMax {
		clear(r.passed)
	}
	at := 0
	for at < len(p)-1 && p[at].end != end {
		at++
	}
	copy(p[1:at+1], p[:at])
	p[0].next, p[0].end = next, end
	r.passed[goid] = p
}
