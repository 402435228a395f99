// Package symbol gives names to the addresses that the kernel programs see: functions, files and lines of the code
// objects of CPython and of the program counters of Go. Everything is read from a live process or its executable, so any
// read may fail, be torn or lie.
package symbol

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"apm-ebpf/internal/target"
)

// Func is a function of a target. A pointer to it is its identity inside one process: the same function always gives the
// same *Func, whichever of its code objects or program counters it runs.
type Func struct {
	Name      string // qualified where the version has it
	File      string // co_filename, as the target sees it; in Go as the compiler saw it
	ShortFile string // relative to the module search path or the module's root
	Line      int    // first line; 0 when it can't be told
	App       bool   // is_application_code
	Coroutine bool   // async def, or a generator made one by types.coroutine
}

// InFile tells whether the function is in a file whose path ends so: with a slash and the path below the module search
// path. A frozen program may tell its files without what comes before.
func (f *Func) InFile(end string) bool {
	return strings.HasSuffix(f.File, end) || f.File == end[1:]
}

// InPackage tells whether a directory of that name is in the path of the function's file.
func (f *Func) InPackage(name string) bool {
	for dir, rest, ok := strings.Cut(f.File, "/"); ok; dir, rest, ok = strings.Cut(rest, "/") {
		if dir == name {
			return true
		}
	}
	return false
}

// Unknown stands for a code object that could not be read, or an address at which there is no code that is known.
var Unknown = &Func{Name: "[unknown]"}

// Shim stands for the code that the interpreter puts between a class and its __init__ where it has specialised the call,
// 3.12 and later (_Py_InitCleanup in CPython Python/specialize.c). Tracebacks leave it out.
var Shim = &Func{Name: "[shim]"}

// initShim is both the name and the file of that code.
const initShim = "__init__"

// Python names the code objects of one CPython process. It is not safe for concurrent use.
type Python struct {
	at       target.Python
	mem      target.Memory
	layout   *Layout
	codeType uint64 // address of PyCode_Type
	strType  uint64 // address of PyUnicode_Type
	paths    *target.Paths
	codes    map[uint64]*code
	spans    int // held by all of codes

	functions map[Func]*Func
}

// Bounds of the caches of one process. A program that keeps making code objects would otherwise fill our memory.
const (
	maxCodes     = 1 << 16
	maxSpans     = 4 << 20 // 32 MiB
	maxFunctions = 1 << 14 // 6 MiB: the same code that is compiled again is one
)

// NewPython finds the layout of the interpreter and checks it on a live thread. Errors: target.ErrGone,
// target.ErrNotReady, that the layout is not known, or that what lies in memory does not agree with it. parent, if any, is
// that of the process by which this one was forked: the same function is the same *Func in both, and the same interpreter
// at the same place was checked there.
func NewPython(p *target.Process, parent *Python) (*Python, error) {
	if p.Python == nil {
		return nil, fmt.Errorf("read symbols of process %d: not a Python process", p.PID)
	}
	mem := target.Memory(p.PID)
	layout, err := layoutOf(p.Python, mem)
	if err != nil {
		return nil, fmt.Errorf("read symbols of process %d (%s): %w", p.PID, p.RuntimeName(), err)
	}
	py := &Python{
		at:       *p.Python,
		mem:      mem,
		layout:   layout,
		codeType: p.Python.CodeType,
		strType:  p.Python.StrType,
		paths:    p.Paths,
		codes:    map[uint64]*code{},

		functions: map[Func]*Func{},
	}
	if parent != nil {
		py.functions = parent.functions
		if parent.at == py.at && parent.layout.Source == py.layout.Source {
			return py, nil
		}
	}
	if err := py.check(p.Python.Runtime, p.Embeds()); err != nil {
		if p.Age() < starting && !errors.Is(err, target.ErrGone) && !errors.Is(err, target.ErrNotReady) {
			err = fmt.Errorf("%w: %w", target.ErrNotReady, err)
		}
		return nil, fmt.Errorf("read symbols of process %d (%s): %w", p.PID, p.RuntimeName(), err)
	}
	return py, nil
}

// starting is how long a process may take to map its executable: on a busy machine other parts of the file lie where its
// variables will be.
const starting = 2 * time.Second

// Layout gives the offsets for the kernel programs.
func (p *Python) Layout() *Layout { return p.layout }

// Func names the code object that is at an address now. It is never nil: code that can't be read gives Unknown. What was
// read is kept until Name tells of another at the address.
func (p *Python) Func(addr uint64) *Func { return p.code(addr).fn }

func (p *Python) code(addr uint64) *code {
	if c := p.codes[addr]; c != nil {
		return c
	}
	if len(p.codes) >= maxCodes {
		clear(p.codes)
		p.spans = 0
	}
	c := p.load(addr)
	p.codes[addr] = c
	return c
}

// forget drops what was read at an address.
func (p *Python) forget(addr uint64) {
	if c := p.codes[addr]; c != nil {
		p.spans -= len(c.lines)
		delete(p.codes, addr)
	}
}
