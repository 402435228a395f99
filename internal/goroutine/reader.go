package goroutine

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/target"
)

// addressMax is above every address of a process on amd64 and arm64.
const addressMax = 1 << 56

// watchedMax bounds the goroutines that are looked at, lookAtOnce those that are read together.
const (
	watchedMax = 64 << 10
	lookAtOnce = 512
)

// Reader reads those goroutines of one process that are watched, and those that they start. It is not safe for
// concurrent use.
type Reader struct {
	// Skip tells by the go statement that started it that a goroutine is not worth following. It may be nil.
	Skip func(goPC uint64) bool
	// System tells by the entry of its function that a goroutine works for the whole process, whoever started it. It may be nil.
	System func(startPC uint64) bool
	// SPDelta tells how far below its return address the stack pointer is at a program counter, negative where that is
	// not known. Stacks of functions without a frame need it, and those in system calls on amd64 before Go 1.23. It may be nil.
	SPDelta func(pc uint64) int32
	// Interrupted tells that a program counter is in runtime.asyncPreempt, which a signal has had run at another, and, if no
	// frame had been made there, how far above asyncPreempt's frame pointer the return address lies, else 0. It may be nil.
	Interrupted func(preempt, pc uint64) (above uint64, ok bool)
	// CalledBack tells that a return address is one to what has C call Go. The frame of what it has called lies CallbackSkip
	// bytes below that of what has called C. It may be nil.
	CalledBack   func(pc uint64) bool
	CallbackSkip uint64
	// Follow takes a goroutine that was started by one that is watched. It may be nil.
	Follow func(goid uint64)

	layout   *Layout
	size     int // bytes of runtime.g that tell an account
	watched  map[uint64]*watched
	roots    int        // of those that are watched
	order    []*watched // by address
	changed  bool       // order is not as it should be
	all      all
	passed   map[uint64]passed // by goroutine
	batchEnd uint64            // where one of those batches ends
	pace     pace

	first, second gather
	addrs         []uint64
	stacks        stacks
	news          []change
	sight         Sight
}

// watched is a goroutine that is looked at.
type watched struct {
	account              // as told last
	g             uint64 // address of its runtime.g
	root          *watched
	parent        uint64
	goPC, startPC uint64
	absent, found uint64 // when it was not there yet, and when a search found it; 0: this is the root
	skipsFirst    bool
	mark, marked  uint64 // the first that it started for what it does now, and when it was found; 0: not known
	told          bool
	since         uint64 // when it was told
	seen          uint64 // when it was last seen to be as told, or was not there yet
	gone          bool
}

// change is a goroutine that is not as it was told last.
type change struct {
	account
	w     *watched
	stack int // its place in stacks, -1: none was read
}

// NewReader makes a Reader. allgs is the address of the slice runtime.allgs, 0: what goroutines start is not known.
func NewReader(pid int, l *Layout, allgs uint64) *Reader {
	mem := target.Memory(pid)
	r := &Reader{layout: l, size: l.accountSize(), watched: map[uint64]*watched{}, passed: map[uint64]passed{}, batchEnd: 1}
	r.first.memory.Memory, r.second.memory.Memory, r.stacks.memory.Memory = mem, mem, mem
	if l.ParentGoID == NoOffset {
		allgs = 0
	}
	r.all = newAll(mem, l, allgs)
	return r
}

// FollowStarts has what goroutines start looked at in a process whose runtime does not tell who started one, NoOffset of
// ParentGoID: parent tells it. allgs is as NewReader has it.
func (r *Reader) FollowStarts(allgs uint64, parent func(goid uint64) uint64) {
	r.all.slice, r.all.parent = allgs, parent
}

// Watch has a goroutine looked at from now on, with all that it starts. g is the address of its runtime.g, seq its
// trackingSeq while it ran at some time since when it is of interest.
func (r *Reader) Watch(goid, g uint64, seq uint8) {
	w := r.watched[goid]
	if w == nil {
		w = &watched{g: g, account: account{id: goid, state: Running, seq: seq}}
		r.add(w)
	}
	if w.root != w && r.watched[goid] == w {
		r.roots++
		r.leads(w)
	}
	w.root, w.parent, w.skipsFirst = w, 0, false
}

// leads has what a goroutine has started be looked at for as long as that is, if it was as long as another that it descends from.
func (r *Reader) leads(w *watched) {
	for _, o := range r.order {
		if w.root != nil && o.root == w.root && r.descends(o, w) {
			o.root = w
		}
	}
}

// descends tells that a goroutine was started by another, or by one that was, and so on, as far as these are looked at.
func (r *Reader) descends(w, from *watched) bool {
	for range generations {
		if w = r.watched[w.parent]; w == nil || w == from {
			break
		}
	}
	return w == from
}

// Watches tells whether a goroutine is looked at.
func (r *Reader) Watches(goid uint64) bool { return r.watched[goid] != nil }

// Waits tells for how long a goroutine that is looked at was seen to wait, without having gone on meanwhile, ns.
func (r *Reader) Waits(goid uint64) uint64 {
	w := r.watched[goid]
	if w == nil || !w.told || w.state != Waiting && w.state != Syscall {
		return 0
	}
	return w.seen - w.since
}

// Others gives the goroutines that are there and are not looked at, with the addresses of their runtime.g, unless there are more
// than so many in all. Those that have just been started are to be found by who has started them. It tells whether any are known
// yet: Look finds them.
func (r *Reader) Others(most int, yield func(goid, g uint64)) (known bool) {
	if len(r.all.known) > most {
		return true
	}
	for i := range r.all.known {
		if k := &r.all.known[i]; k.id != 0 && !k.dead && r.watched[k.id] == nil && !r.all.isNew(k.id) {
			yield(k.id, k.g)
		}
	}
	return len(r.all.known) > 0
}

// SkipsFirst tells that the first goroutine that a watched one starts, for what it is watched for, is one that Skip names.
func (r *Reader) SkipsFirst(goid uint64) {
	if w := r.watched[goid]; w != nil {
		w.skipsFirst = true
	}
}

func (r *Reader) add(w *watched) {
	if len(r.watched) >= watchedMax || w.g >= addressMax {
		return
	}
	r.watched[w.id] = w
	r.order = append(r.order, w)
	r.changed = true
}

// Unwatch ends what Watch began.
func (r *Reader) Unwatch(goid uint64) {
	if w := r.watched[goid]; w != nil && w.root == w {
		r.remove(w)
	}
}

// Turns takes that a watched goroutine has turned to something else at a point. It is no longer looked at, and if it is watched
// again soon, what it has started since, as far as that is known, goes with it.
func (r *Reader) Turns(goid, since uint64) {
	w := r.watched[goid]
	if w == nil || w.root != w {
		return
	}
	now := monotonic()
	for _, o := range r.order {
		if o.root == w && !o.gone && o.found >= since {
			r.all.started = append(r.all.started, started{
				g: o.g, id: o.id, parent: o.parent, goPC: o.goPC, startPC: o.startPC, before: o.absent, at: now,
			})
		}
	}
	r.remove(w)
}

func (r *Reader) remove(w *watched) {
	if w.root == w {
		r.roots--
	}
	w.gone, r.changed = true, true
	delete(r.watched, w.id)
}

// Watching tells how many goroutines are looked at, what was started included.
func (r *Reader) Watching() int { return len(r.watched) }

// arrange drops those that are gone, and what they started, and sorts the others.
func (r *Reader) arrange() {
	r.order = slices.DeleteFunc(r.order, func(w *watched) bool {
		if w.root.gone && !w.gone {
			r.remove(w)
		}
		return w.gone
	})
	slices.SortFunc(r.order, func(a, b *watched) int { return cmp.Compare(a.g, b.g) })
	r.changed = false
}

// Searched tells when goroutines were last searched for that others had started, CLOCK_MONOTONIC, ns; 0: never.
func (r *Reader) Searched() uint64 { return r.pace.searched }

// Look reads every goroutine that is watched and finds what they have started. It tells those that have changed.
// Errors: the process is gone, or may not be read.
func (r *Reader) Look(yield func(*Sight)) error {
	r.pace.begin()
	defer r.pace.end()
	if r.changed {
		r.arrange()
	}
	if len(r.order) == 0 {
		return nil
	}
	if r.all.slice != 0 {
		if err := r.pace.walks(r.roots, r.findStarted); err != nil {
			return err
		}
	}
	if r.changed {
		r.arrange()
	}
	for some := range slices.Chunk(r.order, lookAtOnce) {
		if err := r.look(some, yield); err != nil {
			return err
		}
	}
	return nil
}

// look reads some goroutines and tells those that have changed.
func (r *Reader) look(some []*watched, yield func(*Sight)) error {
	r.addrs = r.addrs[:0]
	for _, w := range some {
		r.addrs = append(r.addrs, w.g)
	}
	if err := r.first.read(r.addrs, r.size); err != nil {
		return err
	}
	now := monotonic()
	r.news = r.news[:0]
	r.stacks.reset()
	r.stacks.interrupted, r.stacks.spDelta = r.Interrupted, r.SPDelta
	r.stacks.calledBack, r.stacks.callbackSkip = r.CalledBack, r.CallbackSkip
	for i, w := range some {
		a, ok := r.layout.account(r.first.of(i, r.size), w.id)
		if !ok {
			continue
		}
		if w.told && a == w.account {
			w.seen = now
			continue
		}
		c := change{account: a, w: w, stack: -1}
		if !w.stands(&a) {
			c.stack = r.stacks.want(&a, r.bp(&a))
		}
		r.news = append(r.news, c)
	}
	if err := r.stacks.read(); err != nil {
		return err
	}
	if err := r.lookAgain(); err != nil {
		return err
	}
	for i := range r.news {
		r.tell(&r.news[i], now, yield)
	}
	return nil
}

// stands tells that the goroutine has no stack that could be read, or stands where it did.
func (w *watched) stands(a *account) bool {
	switch {
	case a.state == Running || a.state == Dead || a.pc == w.startPC:
		return true
	case !w.told || w.state == Running:
		return false
	}
	return a.seq == w.seq && a.sp == w.sp && a.pc == w.pc
}

// bp is the frame pointer with which the walk of a stack begins.
func (r *Reader) bp(a *account) uint64 {
	if a.state != Syscall || r.layout.SyscallBP != NoOffset {
		return a.bp
	}
	if framePointerBelow {
		return a.sp - 8
	}
	if r.SPDelta != nil {
		if delta := r.SPDelta(a.pc); delta >= 8 {
			return a.sp + uint64(delta) - 8
		}
	}
	return 0
}

// lookAgain drops the news of goroutines that went on while their stacks were read.
func (r *Reader) lookAgain() error {
	r.addrs = r.addrs[:0]
	for i := range r.news {
		if r.news[i].stack >= 0 {
			r.addrs = append(r.addrs, r.news[i].w.g)
		}
	}
	if err := r.second.read(r.addrs, r.size); err != nil {
		return err
	}
	i := 0
	r.news = slices.DeleteFunc(r.news, func(c change) bool {
		if c.stack < 0 {
			return false
		}
		a, ok := r.layout.account(r.second.of(i, r.size), c.id)
		i++
		a.state, a.why = c.state, c.why // it may have become ready
		return !ok || a != c.account
	})
	return nil
}

func (r *Reader) tell(c *change, now uint64, yield func(*Sight)) {
	w, s := c.w, &r.sight
	*s = Sight{
		GoID: w.id, G: w.g, Root: w.root.id,
		Time: now, After: w.seen, State: c.state, Seq: c.seq, Left: c.seq - w.seq,
		GoPC: w.goPC, StartPC: w.startPC,
	}
	if !w.told && w.parent != 0 {
		s.Parent, s.Left = w.parent, NotKnown
	}
	if c.state == Waiting {
		s.Why = r.layout.reason(c.why)
	}
	if c.stack >= 0 {
		s.PCs, s.Gap, s.Truncated = r.stacks.of(c.stack)
	}
	w.account, w.told, w.since, w.seen = c.account, true, now, now
	if c.state == Dead {
		r.remove(w)
	}
	yield(s)
}

func monotonic() uint64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return uint64(t.Nano())
}
