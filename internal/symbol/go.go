package symbol

import (
	"fmt"
	"iter"
	"runtime"

	"apm-ebpf/internal/pclntab"
	"apm-ebpf/internal/target"
)

// GoFrame is a function on a stack of Go.
type GoFrame struct {
	Func *Func
	Line int32 // at which it stands; 0 when it can't be told
}

// Go names the program counters of one Go process. It is not safe for concurrent use.
type Go struct {
	table   *target.GoTable
	process *target.Go
	sources *goSources
	outside *goOutside

	places    map[place]placed
	functions map[goIdentity]*Func
	written   map[goWritten]*Func
	told      map[uint64]bool // by Depths, by entry
}

// place is a program counter; call tells that it is a return address.
type place struct {
	pc   uint64
	call bool
}

// placed is what is known of a place.
type placed struct {
	frames []GoFrame
	depth  int32
}

// goIdentity tells functions apart. All instances of a generic function are one, as they are in tracebacks.
type goIdentity struct {
	name string
	line int32
}

// goWritten is where the tables tell a function.
type goWritten struct {
	name uint32
	line int32
}

// maxPlaces bounds the cache of program counters. A busy service has some 10,000.
const maxPlaces = 1 << 16

// NewGo opens the tables of a Go process's executable. The caller must close it.
func NewGo(p *target.Process) (*Go, error) {
	if p.Go == nil {
		return nil, fmt.Errorf("read symbols of process %d: not a Go process", p.PID)
	}
	table, err := p.GoTable()
	if err != nil {
		return nil, err
	}
	sources := newGoSources(p.Go.Build, goRoot(table.Table))
	table.Forget()
	return &Go{
		table:     table,
		process:   p.Go,
		sources:   sources,
		outside:   &goOutside{process: p, frames: map[string]*Func{}},
		places:    map[place]placed{},
		functions: map[goIdentity]*Func{},
		written:   map[goWritten]*Func{},
		told:      map[uint64]bool{},
	}, nil
}

// Close lets go of the executable.
func (g *Go) Close() { g.table.Close() }

// Frames gives the functions at a program counter of the process, innermost first: inlined ones before the one they were
// inlined in. call tells that pc is a return address, which belongs to the instruction before. As in Go's tracebacks,
// functions that the compiler made to call another one are left out, and so is what lies below a goroutine's first
// function, so there may be none. The result is valid until the next call.
func (g *Go) Frames(pc uint64, call bool) []GoFrame { return g.look(place{pc, call}).frames }

// SPDelta tells how far the stack pointer is below the return address at a program counter, in bytes; -1 when it can't
// be told.
func (g *Go) SPDelta(pc uint64) int32 { return g.look(place{pc: pc}).depth }

// Interrupted tells that a program counter is in runtime.asyncPreempt, which a signal has had run at another, and, if the
// function there had made no frame, how far above asyncPreempt's frame pointer its return address lies, else 0.
func (g *Go) Interrupted(preempt, pc uint64) (above uint64, ok bool) {
	frames := g.Frames(preempt, true)
	if len(frames) == 0 || frames[0].Func.Name != "runtime.asyncPreempt" {
		return 0, false
	}
	switch {
	case g.SPDelta(pc) != 0:
		return 0, true
	case runtime.GOARCH == "arm64": // saved where the stack pointer was (Go src/runtime/signal_arm64.go, pushCall)
		return 8 + uint64(max(g.SPDelta(preempt), 0)), true
	}
	return 16, true // behind asyncPreempt's frame pointer and where it returns to
}

// depthsMax bounds the code of one function whose depths are told, bytes.
const depthsMax = 1 << 17

// Depths tells SPDelta by stretches of so many bytes, which begin at multiples of that, of the function at a program counter
// where it has made its frame. Each function is told once.
func (g *Go) Depths(pc uint64, stretch uint64) iter.Seq2[uint64, uint32] {
	return func(yield func(uint64, uint32) bool) {
		f, ok := g.table.Find(pc - g.process.Bias)
		if !ok || f.End-f.Entry > depthsMax || g.told[f.Entry] {
			return
		}
		g.told[f.Entry] = true
		end := f.End + g.process.Bias
		for at := (f.Entry + g.process.Bias) / stretch * stretch; at < end; at += stretch {
			if depth := g.depthIn(&f, at-g.process.Bias, stretch); depth != 0 && !yield(at, depth) {
				return
			}
		}
	}
}

// depthIn gives the depth of a function that has made its frame, in a stretch; 0 where it makes none there, or several.
func (g *Go) depthIn(f *pclntab.Func, at, stretch uint64) (depth uint32) {
	const framePointer = 8 // bytes: the frame has no more yet, or any more
	for pc := max(at, f.Entry); pc < min(at+stretch, f.End); pc++ {
		switch d := g.table.Depth(f, pc); { // negative behind its last instruction
		case d <= framePointer || uint32(d) == depth:
		case depth != 0:
			return 0
		default:
			depth = uint32(d)
		}
	}
	return depth
}

func (g *Go) look(at place) placed {
	if known, ok := g.places[at]; ok {
		return known
	}
	pc := at.pc
	if at.call {
		pc--
	}
	f, ok := g.table.Find(pc - g.process.Bias)
	if !ok { // what is mapped there can change
		if fn := g.outside.image(pc); fn != nil {
			return placed{[]GoFrame{{Func: fn}}, -1}
		}
		return placed{nil, -1}
	}
	if len(g.places) >= maxPlaces {
		clear(g.places)
	}
	found := g.place(&f, pc-g.process.Bias)
	g.places[at] = found
	return found
}

func (g *Go) place(f *pclntab.Func, pc uint64) placed {
	out := placed{depth: g.table.Depth(f, pc)}
	for _, p := range g.table.Places(f, pc) {
		if g.table.IsWrapper(p.Kind) {
			continue
		}
		if fn := g.function(&p); fn != nil {
			out.frames = append(out.frames, GoFrame{fn, p.Line})
		}
	}
	return out
}

// belowGoroutine are the functions that a goroutine's first one returns to.
var belowGoroutine = map[string]bool{"runtime.goexit": true, "runtime.goexit0": true, "runtime.goexit1": true}

// function gives nil for one that is not shown.
func (g *Go) function(p *pclntab.Place) *Func {
	at := goWritten{p.Name, p.StartLine}
	if fn, ok := g.written[at]; ok {
		return fn
	}
	if len(g.written) >= maxCodes {
		clear(g.written)
		clear(g.functions)
	}
	linked := g.table.Name(p.Name)
	if linked == "" {
		return Unknown
	}
	var fn *Func
	if !belowGoroutine[linked] {
		name := goName(linked)
		key := goIdentity{name, p.StartLine}
		if fn = g.functions[key]; fn == nil {
			fn = g.sources.describe(name, g.table.File(p.File), int(p.StartLine))
			g.functions[key] = fn
		}
	}
	g.written[at] = fn
	return fn
}
