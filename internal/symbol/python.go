// Package symbol gives names to the addresses that the kernel programs see: functions, files and lines of the code
// objects of CPython. Everything is read from a live process, so any read may fail, be torn or lie.
package symbol

import (
	"fmt"

	"apm-ebpf/internal/target"
)

// Func is a function of a target. A pointer to it is its identity inside one process: the same code object always gives
// the same *Func as long as it lives.
type Func struct {
	Name      string // qualified where the version has it
	File      string // co_filename, as the target sees it
	ShortFile string // relative to the module search path
	Line      int    // first line; 0 when it can't be told
	App       bool   // is_application_code
	Coroutine bool   // async def, or a generator made one by types.coroutine
}

// Unknown stands for a code object that could not be read.
var Unknown = &Func{Name: "[unknown]"}

// Python names the code objects of one CPython process. It is not safe for concurrent use.
type Python struct {
	mem      target.Memory
	layout   *Layout
	codeType uint64 // address of PyCode_Type
	strType  uint64 // address of PyUnicode_Type
	paths    *target.Paths
	codes    map[uint64]*code
	spans    int // held by all of codes
}

// Bounds of the caches of one process. A program that keeps making code objects would otherwise fill our memory.
const (
	maxCodes = 1 << 16
	maxSpans = 4 << 20 // 32 MiB
)

// NewPython finds the layout of the interpreter and checks it on a live thread. Errors: target.ErrGone,
// target.ErrNotReady, that the layout is not known, or that what lies in memory does not agree with it.
func NewPython(p *target.Process) (*Python, error) {
	if p.Python == nil {
		return nil, fmt.Errorf("read symbols of process %d: not a Python process", p.PID)
	}
	mem := target.Memory(p.PID)
	layout, err := layoutOf(p.Python, mem)
	if err != nil {
		return nil, fmt.Errorf("read symbols of process %d (%s): %w", p.PID, p.RuntimeName(), err)
	}
	py := &Python{
		mem:      mem,
		layout:   layout,
		codeType: p.Python.CodeType,
		strType:  p.Python.StrType,
		paths:    p.Paths,
		codes:    map[uint64]*code{},
	}
	if err := py.check(p.Python.Runtime, p.Embeds()); err != nil {
		return nil, fmt.Errorf("read symbols of process %d (%s): %w", p.PID, p.RuntimeName(), err)
	}
	return py, nil
}

// Layout gives the offsets for the kernel programs.
func (p *Python) Layout() *Layout { return p.layout }

// Func names a code object, given its address. It is never nil: code that can't be read gives Unknown. What was read is
// kept until Revalidate finds it changed; asking again costs one map lookup.
func (p *Python) Func(addr uint64) *Func { return p.code(addr).fn }

// Seen names the code object that bore a mark when a stack was taken: Unknown where another has taken its place since.
func (p *Python) Seen(addr uint64, mark uint16) *Func {
	c := p.code(addr)
	if c.mark != mark {
		p.Revalidate([]uint64{addr})
		c = p.code(addr)
	}
	if c.mark != mark {
		return Unknown
	}
	return c.fn
}

// markOf is how the kernel programs tell code objects at one address apart: by the addresses of their name and line
// table (py_mark, bpf/python.bpf.h).
func markOf(name, lineTable uint64) uint16 {
	return uint16((name ^ lineTable<<1) * 0x9e3779b97f4a7c15 >> 48)
}

func (p *Python) code(addr uint64) *code {
	if c := p.codes[addr]; c != nil {
		c.used = true
		return c
	}
	c := p.load(addr)
	if len(p.codes) >= maxCodes {
		p.trim()
	}
	p.codes[addr] = c
	return c
}

// trim drops what was not asked for since it was last called, and everything where that is not enough.
func (p *Python) trim() {
	for addr, c := range p.codes {
		if !c.used {
			p.drop(addr, c)
		}
		c.used = false
	}
	for addr, c := range p.codes {
		if len(p.codes) < maxCodes {
			break
		}
		p.drop(addr, c)
	}
}

func (p *Python) drop(addr uint64, c *code) {
	if p.codes[addr] == c {
		p.spans -= len(c.lines)
		delete(p.codes, addr)
	}
}
