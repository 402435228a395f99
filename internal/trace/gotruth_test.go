package trace_test

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/filter"
	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/http1"
	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/target/targettest"
	"apm-ebpf/internal/trace"
)

// goWork is testdata/gowork as it runs.
type goWork struct {
	*targettest.Child
	t       *testing.T
	process *target.Process
	symbols *symbol.Go
	layout  *goroutine.Layout
	ids     []uint64
}

// span is from when to when a function of the program ran, CLOCK_MONOTONIC, ns.
type span struct{ From, To uint64 }

// seen is a sight that is kept.
type seen struct {
	goroutine.Sight
	stack, statement []trace.Frame
}

func startGoWork(t *testing.T, toolchain targettest.Toolchain) *goWork {
	t.Helper()
	w := &goWork{t: t}
	w.Child = targettest.Start(t, exec.Command(toolchain.BuildGo(t, "testdata/gowork", targettest.Builds[0])))
	for line := w.Line(); line != "ready"; line = w.Line() {
		id, err := strconv.ParseUint(line, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		w.ids = append(w.ids, id)
	}
	var err error
	if w.process, err = target.Inspect(w.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if w.symbols, err = symbol.NewGo(w.process); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.symbols.Close)
	if w.layout, err = goroutine.LayoutOf(toolchain.Minor); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *goWork) word(at uint64) uint64 {
	var b [8]byte
	if err := target.Memory(w.Process.Pid).Read(b[:], at); err != nil {
		w.t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(b[:])
}

// reader watches the handlers.
func (w *goWork) reader() *goroutine.Reader {
	allgs := w.process.Go.AllGs
	r := goroutine.NewReader(w.Process.Pid, w.layout, allgs)
	for i := range w.word(allgs + 8) {
		g := w.word(w.word(allgs) + 8*i)
		if id := w.word(g + uint64(w.layout.GoID)); slices.Contains(w.ids, id) {
			r.Watch(id, g, byte(w.word(g+uint64(w.layout.TrackingSeq))))
		}
	}
	return r
}

func (w *goWork) frames(pcs []uint64) (frames []trace.Frame) {
	for _, pc := range slices.Backward(pcs) {
		for _, f := range slices.Backward(w.symbols.Frames(pc, true)) {
			frames = append(frames, trace.Frame{Func: f.Func})
		}
	}
	return frames
}

// watch has the handlers work and gives what was seen of them, when it was looked, and what the program measured.
func (w *goWork) watch() (sights []seen, looks []uint64, truth map[uint64]map[string]span) {
	r := w.reader()
	answers := make(chan map[uint64]map[string]span)
	w.Say("go")
	go func() {
		answer := map[uint64]map[string]span{}
		for range w.ids {
			var h struct {
				ID    uint64
				Spans map[string]span
			}
			if err := json.Unmarshal([]byte(w.Line()), &h); err != nil {
				w.t.Error(err)
			}
			answer[h.ID] = h.Spans
		}
		answers <- answer
	}()
	for {
		looks = append(looks, now())
		err := r.Look(func(s *goroutine.Sight) {
			kept := seen{Sight: *s, stack: w.frames(s.PCs)}
			if s.Parent != 0 {
				kept.statement = w.frames([]uint64{s.GoPC})
			}
			sights = append(sights, kept)
		})
		if err != nil {
			w.t.Fatal(err)
		}
		period, _ := r.Period(0)
		select {
		case truth = <-answers:
			return sights, append(looks, now()), truth
		case <-time.After(period):
		}
	}
}

func now() uint64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return uint64(t.Nano())
}

// TestGoTruth compares the times that a tracer tells of goroutines with those that their program measured. Times can be
// wrong by what lies between two looks, or three where the one in the middle finds it running: without a CPU on a busy machine.
func TestGoTruth(t *testing.T) {
	if testing.Short() {
		t.Skip("reads another process, which emulators do not do")
	}
	for _, toolchain := range targettest.Toolchains(t) {
		t.Run(toolchain.Version, func(t *testing.T) {
			w := startGoWork(t, toolchain)
			sights, looks, truth := w.watch()
			told := play(w.ids, sights, looks, truth, uint32(w.Process.Pid))
			var wrong []int64
			for id, functions := range truth {
				gap := longest(looks, functions["main.(*handler).serve"])
				for name, s := range functions {
					wrong = append(wrong, check(t, told[id], name, s, gap))
				}
				if children := told[id].of("main.child"); w.layout.ParentGoID != goroutine.NoOffset && children < 5*int64(20*time.Millisecond)-2*5*gap {
					t.Errorf("5 children of %d were told to take %v together", id, time.Duration(children))
				}
			}
			slices.Sort(wrong)
			t.Logf("%d looks, %d sights; %d functions, wrong by %v in the middle, %v at most", len(looks), len(sights),
				len(wrong), time.Duration(wrong[len(wrong)/2]), time.Duration(wrong[len(wrong)-1]))
		})
	}
}

// tree is what was told of a request.
type tree []filter.Frame

// of gives the time of a function, wherever it is in the tree.
func (t tree) of(name string) (time int64) {
	for _, f := range t {
		if f.Function == name {
			time += f.Time
		}
	}
	return time
}

// check compares a function's time and gives by how much it is wrong. gap is the longest between two looks.
func check(t *testing.T, told tree, name string, s span, gap int64) int64 {
	t.Helper()
	const unseen = int64(2 * time.Millisecond) // on a CPU between two waits, and the program's own measuring
	got, want := told.of(name), int64(s.To-s.From)
	wrong := max(got-want, want-got)
	if wrong > 2*gap+unseen {
		t.Errorf("%s: %v, measured %v, looked at every %v", name, time.Duration(got), time.Duration(want), time.Duration(gap))
	}
	return wrong
}

// longest gives the longest time between two looks in a span.
func longest(looks []uint64, s span) (gap int64) {
	for i := 1; i < len(looks); i++ {
		if looks[i] >= s.From && looks[i-1] <= s.To {
			gap = max(gap, int64(looks[i]-looks[i-1]))
		}
	}
	return gap
}

// play has a tracer take a request for each handler, with what was seen of it.
func play(ids []uint64, sights []seen, looks []uint64, truth map[uint64]map[string]span, pid uint32) map[uint64]tree {
	told := map[uint64]tree{}
	var tracer *trace.Tracer
	tracer = trace.New(1, func(r *trace.Request) {
		for _, f := range tracer.Profile(r).Frames {
			told[r.Goroutine.ID] = append(told[r.Goroutine.ID], *f)
		}
	})
	type event struct {
		at uint64
		do func()
	}
	var events []event
	for i, id := range ids {
		conn, served := uint64(i+1), truth[id]["main.(*handler).serve"]
		transfer := func(at uint64, text string) *trace.Transfer {
			return &trace.Transfer{
				Connection: conn, Begun: served.From, Begins: at == served.From, Sampled: true, PID: pid, TID: pid, Time: at,
				Goroutine: trace.Goroutine{ID: id}, Chunk: http1.Chunk{Head: []byte(text), Len: len(text)},
			}
		}
		events = append(events,
			event{0, func() { tracer.Open(trace.Connection{ID: conn, PID: pid}, 0) }},
			event{served.From, func() { tracer.Received(transfer(served.From, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")) }},
			event{served.To, func() { tracer.Sent(transfer(served.To, "HTTP/1.1 204 No Content\r\n\r\n")) }})
	}
	for i := range sights {
		s := &sights[i]
		events = append(events, event{s.Time, func() {
			var stack *trace.Stack
			if len(s.stack) > 0 {
				stack = &trace.Stack{Frames: s.stack}
			}
			tracer.GoSight(pid, &s.Sight, stack, s.statement)
		}})
	}
	for _, at := range looks[1:] {
		events = append(events, event{at - 1, func() { tracer.GoLooked(pid, at-1, at-1, false) }}) // before the next look begins
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	for _, e := range events {
		e.do()
	}
	return told
}
