package goroutine

import (
	"os"
	"slices"
	"testing"
	"unsafe"

	"apm-ebpf/internal/target"
)

// TestStartedBefore tells what a goroutine started for an earlier request from what it started for this one.
func TestStartedBefore(t *testing.T) {
	const background = 1000 // address of the server's go statement
	r := &Reader{Skip: func(goPC uint64) bool { return goPC == background }, watched: map[uint64]*watched{}, passed: map[uint64]passed{}, batchEnd: 1}
	w := &watched{account: account{id: 7}, skipsFirst: true}
	r.watched[7] = w
	r.all.started = []started{{id: 36, parent: 7, goPC: background, before: 50, at: 100}}
	r.findMarks()
	for _, next := range []uint64{70, 100, 120, 54, 75} {
		r.Passed(7, next, (next+13)/16*16+2) // a thread may come from C
	}
	r.batchEnd = 49
	for _, test := range []struct {
		name       string
		id, before uint64
		want       bool
	}{
		{"left over", 35, 50, true},
		{"of this one", 37, 50, false},
		{"found by a later look", 35, 110, false},
		{"of another processor", 32, 50, false},
		{"left over there", 74, 50, true},
		{"left over there and of another batch", 53, 50, true},
		{"first of a batch there", 50, 50, true},
		{"last of a batch of no one's", 49, 50, false},
		{"left over from long before", 99, 50, true},
		{"of this one there", 75, 50, false},
	} {
		s := &started{id: test.id, parent: 7, before: test.before, at: 100}
		if got := r.startedBefore(w, s); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// TestWatchWhatWasStarted has a goroutine looked at for itself that was looked at as what another had started.
func TestWatchWhatWasStarted(t *testing.T) {
	r := &Reader{watched: map[uint64]*watched{}}
	r.Watch(1, 1<<8, 0)
	for id := uint64(2); id <= 4; id++ { // in a row
		r.add(&watched{account: account{id: id}, g: id << 8, root: r.watched[1], parent: id - 1})
	}
	r.Watch(3, 3<<8, 0)
	r.Unwatch(1)
	r.arrange()
	for id, want := range map[uint64]bool{1: false, 2: false, 3: true, 4: true} {
		if r.Watches(id) != want {
			t.Errorf("goroutine %d is looked at: %v", id, !want)
		}
	}
	r.Unwatch(3)
	if r.arrange(); r.Watching() > 0 || r.roots != 0 {
		t.Errorf("%d goroutines are looked at, and %d for themselves, when none is to be", r.Watching(), r.roots)
	}
}

// TestTurns has a goroutine turn to something else, for which it has started another that was found before that was known.
func TestTurns(t *testing.T) {
	r := &Reader{watched: map[uint64]*watched{}}
	r.Watch(1, 1<<8, 0)
	for i, found := range []uint64{90, 110, 110} {
		id := uint64(i) + 2
		r.add(&watched{account: account{id: id}, g: id << 8, root: r.watched[1], parent: max(1, id-2), found: found})
	}
	r.Turns(1, 100)
	r.arrange()
	if n := r.Watching(); n != 0 || r.roots != 0 {
		t.Errorf("%d goroutines are looked at", n)
	}
	var again []uint64
	for _, s := range r.all.started {
		again = append(again, s.id)
	}
	if want := []uint64{3, 4}; !slices.Equal(again, want) {
		t.Errorf("%d are looked for again, want %d", again, want)
	}
}

// fakeG is a runtime.g of this process's memory.
type fakeG struct {
	status uint32
	id     uint64
	_      [51]uint64 // its parent and all else
}

var fakeLayout = Layout{Status: 0, GoID: 8, ParentGoID: 16, GoPC: 24, StartPC: 32}

var fakeAllGs *[]*fakeG // where it does not move

// TestWalkOfMany has goroutines begin among many that live on.
func TestWalkOfMany(t *testing.T) {
	const many = 10_000
	gs := make([]fakeG, many)
	allgs := make([]*fakeG, many)
	fakeAllGs = &allgs
	for i := range gs {
		gs[i] = fakeG{status: gWaiting, id: uint64(i + 1)}
		allgs[i] = &gs[i]
	}
	a := newAll(target.Memory(os.Getpid()), &fakeLayout, uint64(uintptr(unsafe.Pointer(fakeAllGs))))
	last := uint64(many)
	reuse := func(i int) uint64 {
		last++
		gs[i].id, gs[i].status = last, gRunnable
		return last
	}
	walk := func() (read int, found []started) {
		t.Helper()
		a.started = a.started[:0]
		if _, err := a.grow(); err != nil {
			t.Fatal(err)
		}
		if err := a.walk(&fakeLayout); err != nil {
			t.Fatal(err)
		}
		a.complete = a.now
		return len(a.reads), a.started
	}
	// awaits gives how many walks find a goroutine.
	awaits := func(id uint64) (walks int) {
		t.Helper()
		for walks = 1; walks <= restShare+1; walks++ {
			if _, found := walk(); len(found) == 1 && found[0].id == id {
				return walks
			}
		}
		t.Fatalf("goroutine %d is never found", id)
		return 0
	}
	if read, found := walk(); read != many || len(found) != many {
		t.Fatalf("the first walk reads %d and finds %d", read, len(found))
	}
	for _, i := range []int{9000, 10, 4711} {
		gs[i].status = gDead
	}
	for range restShare + 1 {
		if read, _ := walk(); read > many/restShare+4 {
			t.Errorf("%d are read when nothing has begun", read)
		}
	}
	for _, i := range []int{10, 9000} {
		before := a.now
		if walks := awaits(reuse(i)); walks != 1 || a.started[0].before != before {
			t.Errorf("a goroutine that was dead is found by walk %d, missing up to %d: %+v", walks, before, a.started[0])
		}
	}
	awaits(reuse(many / 2))
	if read, _ := walk(); read != many {
		t.Errorf("%d are read after one was found late", read)
	}
	allgs = append(allgs, &fakeG{status: gRunnable, id: last + 1})
	last++
	if awaits(last) != 1 {
		t.Error("a new one is found late")
	}
}
