package goroutine

import (
	"debug/elf"
	"fmt"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/target/targettest"
)

// parked is testdata/parked as it runs.
type parked struct {
	*targettest.Child
	t           testing.TB
	layout      *Layout
	allgs       uint64
	symbols     []elf.Symbol // functions, by address
	ids         map[string]uint64
	spDelta     func(uint64) int32
	interrupted func(preempt, pc uint64) (uint64, bool)
}

func startParked(t testing.TB, exe string, minor int, args ...string) *parked {
	t.Helper()
	layout, err := LayoutOf(minor)
	if err != nil {
		t.Fatal(err)
	}
	p := &parked{t: t, layout: layout, ids: map[string]uint64{}}
	p.readSymbols(exe)
	p.Child = targettest.Start(t, exec.Command(exe, args...))
	for p.ids["handler"] == 0 {
		name, id := p.number(p.Line())
		p.ids[name] = id
	}
	process, err := target.Inspect(p.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := symbol.NewGo(process)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(symbols.Close)
	p.spDelta, p.interrupted = symbols.SPDelta, symbols.Interrupted
	return p
}

func (p *parked) number(line string) (name string, id uint64) {
	if n, _ := fmt.Sscan(line, &name, &id); n != 2 {
		p.t.Fatalf("printed %q", line)
	}
	return name, id
}

func (p *parked) readSymbols(exe string) {
	file, err := elf.Open(exe)
	if err != nil {
		p.t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, s := range symbols {
		switch {
		case s.Name == "runtime.allgs":
			p.allgs = s.Value
		case elf.ST_TYPE(s.Info) == elf.STT_FUNC:
			p.symbols = append(p.symbols, s)
		}
	}
	slices.SortFunc(p.symbols, func(a, b elf.Symbol) int { return int(a.Value) - int(b.Value) })
}

// functions names those of a stack, without the runtime's and a method that Go made of an embedded struct's.
func (p *parked) functions(pcs []uint64) (names []string) {
	for _, pc := range pcs {
		i := sort.Search(len(p.symbols), func(i int) bool { return p.symbols[i].Value >= pc }) - 1
		if name := p.symbols[max(i, 0)].Name; !strings.HasPrefix(name, "runtime.") && name != "net.(*TCPConn).Read" {
			names = append(names, name)
		}
	}
	return names
}

// do has the program do something and gives what it prints.
func (p *parked) do(line string) (out []string) {
	p.t.Helper()
	p.Say(line)
	for {
		line := p.Line()
		if line == "end" {
			return out
		}
		out = append(out, line)
	}
}

// addresses gives where every goroutine of the program is.
func (p *parked) addresses() map[uint64]uint64 {
	p.t.Helper()
	layout := *p.layout
	if layout.ParentGoID == NoOffset {
		layout.ParentGoID = layout.GoID
	}
	r := NewReader(p.Process.Pid, &layout, p.allgs)
	if _, err := r.all.grow(); err != nil {
		p.t.Fatal(err)
	}
	if err := r.all.walk(r.layout); err != nil {
		p.t.Fatal(err)
	}
	at := map[uint64]uint64{}
	for _, s := range r.all.started {
		at[s.id] = s.g
	}
	return at
}

// reader watches the goroutines of some names.
func (p *parked) reader(names ...string) *Reader {
	p.t.Helper()
	r := NewReader(p.Process.Pid, p.layout, p.allgs)
	r.SPDelta = p.spDelta
	at := p.addresses()
	for _, name := range names {
		r.Watch(p.ids[name], at[p.ids[name]], 0)
	}
	return r
}

// look gives what one look tells, by goroutine.
func look(t testing.TB, r *Reader) map[uint64]Sight {
	t.Helper()
	told := map[uint64]Sight{}
	err := r.Look(func(s *Sight) {
		kept := *s
		kept.PCs = slices.Clone(s.PCs)
		told[s.GoID] = kept
	})
	if err != nil {
		t.Fatal(err)
	}
	return told
}

// lookUntil looks again and again until the test has seen what it waits for.
func lookUntil(t testing.TB, r *Reader, seen func(told map[uint64]Sight) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !seen(look(t, r)); {
		if time.Now().After(deadline) {
			t.Fatal("what was waited for is never told")
		}
		r.pace.credit = walkCredit // without regard to what a walk costs
	}
}
