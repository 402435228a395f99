package probe

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
)

// Events reach the buffer almost in order: each CPU's are, but one may be overtaken between reading
// its clock and being written. They are held back for so long, ns, and sorted.
const holdBack = 10_000_000

// arenaSize bounds what is held back, bytes; beyond it events are handed on at once.
const arenaSize = 2 << 20

// reader takes events out of the ring buffer in batches and hands them on in order of time. It
// allocates nothing once its slices have grown.
type reader struct {
	ring   *ringbuf.Reader
	record ringbuf.Record
	event  Event // that is shown to who looks at what arrives
	arena  []byte
	spare  []byte
	used   int
	batch  []Event
}

func newReader(ring *ringbuf.Reader) *reader {
	return &reader{ring: ring, arena: newArena(), spare: newArena()}
}

// newArena is aligned for the events' views and has room for a whole one behind the last.
func newArena() []byte {
	words := make([]uint64, (arenaSize+eventMax)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
}

// poll reads what there is. wait is how long to sleep for a first event that forces a wake-up. Each event is shown to
// arrived at once, in whatever order, and to handle in order of time, unless it is held back for the next poll. act is
// called when what has arrived was shown, before it is handled.
func (r *reader) poll(wait time.Duration, all bool, arrived func(*Event), act func(), handle func(*Event)) error {
	deadline := time.Now().Add(wait)
	for {
		r.ring.SetDeadline(deadline)
		full, err := r.fill(arrived)
		if err != nil {
			return err
		}
		act()
		r.deliver(all || full, handle)
		if !full {
			return nil
		}
		deadline = time.Now()
	}
}

// fill copies records into the arena until the ring or the arena has no more.
func (r *reader) fill(arrived func(*Event)) (full bool, err error) {
	for r.used < arenaSize {
		r.record.RawSample = r.arena[r.used : r.used : r.used+eventMax]
		err := r.ring.ReadInto(&r.record)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read ring buffer: %w", err)
		}
		if e, ok := Decode(r.record.RawSample); ok {
			r.event = e
			arrived(&r.event)
			r.insert(e)
			r.used += (len(r.record.RawSample) + 7) &^ 7
		}
		if r.record.Remaining == 0 {
			r.ring.SetDeadline(time.Unix(0, 0))
		}
	}
	return true, nil
}

// insert keeps the batch in order of time; events are nearly sorted as they come. A name that came before an event stays
// before it: the stack may have been begun earlier than the one for which the name was told, and count on it.
func (r *reader) insert(e Event) {
	r.batch = append(r.batch, e)
	at := len(r.batch) - 1
	for ; at > 0 && r.batch[at-1].Time > e.Time; at-- {
		r.batch[at], r.batch[at-1] = r.batch[at-1], r.batch[at]
	}
	for i := at + 1; i < len(r.batch); i++ {
		if name := r.batch[i]; name.Kind == KindCode {
			name.Time = e.Time
			copy(r.batch[at+1:i+1], r.batch[at:i])
			r.batch[at] = name
			at++
		}
	}
}

func (r *reader) deliver(all bool, handle func(*Event)) {
	limit := Now() - holdBack
	done := 0
	for done < len(r.batch) && (all || r.batch[done].Time < limit) {
		handle(&r.batch[done])
		done++
	}
	r.keep(r.batch[done:])
}

// keep copies the events that are held back to the other arena, so that none overwrites another.
func (r *reader) keep(rest []Event) {
	r.arena, r.spare = r.spare, r.arena
	r.used = 0
	n := copy(r.batch, rest)
	clear(r.batch[n:])
	r.batch = r.batch[:n]
	for i := range r.batch {
		e := &r.batch[i]
		size := copy(r.arena[r.used:], e.raw)
		e.raw = r.arena[r.used : r.used+size]
		r.used += (size + 7) &^ 7
	}
}
