package target

import (
	"fmt"

	"apm-ebpf/internal/pclntab"
)

// GoCode is functions of a Go program for uprobes to go on. What is nowhere but inlined is not in it.
type GoCode struct {
	ProbeFile
	Funcs map[string]GoFunc // by full name: crypto/tls.(*Conn).Write

	im    *image
	table *pclntab.Table
}

// GoFunc is where a function lies.
type GoFunc struct {
	Entry  uint64 // address in the process
	Size   uint64 // of its code with the padding behind, bytes
	Offset uint64 // of the entry from the start of the file

	linked pclntab.Func
}

// GoFuncs finds functions in the executable of a Go process, which the caller must close. Those that it does not have are
// missing.
func (p *Process) GoFuncs(names ...string) (*GoCode, error) {
	f, im, err := p.probeFile(p.Go.mapping)
	if err != nil {
		return nil, err
	}
	code, err := im.goCode(p.Go, names)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("find functions of process %d (%s): %w", p.PID, p.Go.Version, err)
	}
	code.ProbeFile = f
	return code, nil
}

func (im *image) goCode(g *Go, names []string) (*GoCode, error) {
	table, err := pclntab.Open(im.at, g.module, g.Minor)
	if err != nil {
		return nil, err
	}
	code := &GoCode{Funcs: map[string]GoFunc{}, im: im, table: table}
	for name, f := range table.Lookup(names...) {
		if offset, ok := im.code(f.Entry); ok {
			code.Funcs[name] = GoFunc{f.Entry + g.Bias, f.End - f.Entry, offset, f}
		}
	}
	return code, nil
}

// prologue bounds how far from its entry a function has set up its frame, in instructions.
const prologue = 16

// Once gives the offset in the file of an instruction that each call of a function passes once, before it has changed the
// registers that hold its arguments: the first one behind the check of the stack, which is passed again after the stack
// has grown. On x86_64 that is a push, which the kernel emulates (Linux arch/x86/kernel/uprobes.c). Go 1.20 has none: there
// it is the branch of the check, emulated too, and a call whose stack grows passes it twice.
func (c *GoCode) Once(f GoFunc) (uint64, error) {
	var checked bool
	var branch uint64
	n := 0
	for in := range c.im.instructions(f.linked.Entry, f.linked.End) {
		if in.push || c.im.arm64 && branch != 0 {
			return f.Offset + in.addr - f.linked.Entry, nil
		}
		checked = checked || in.limit
		if in.branch && checked && branch == 0 {
			branch = in.addr
		}
		if n++; n == prologue || in.target != 0 {
			break
		}
	}
	if branch == 0 {
		return 0, fmt.Errorf("%s neither checks its stack nor has a frame", c.table.Name(f.linked.Name))
	}
	return f.Offset + branch - f.linked.Entry, nil
}

// GoCall is an instruction that calls a function, which kernels of both architectures emulate.
type GoCall struct {
	Offset uint64 // from the start of the file
	Callee string // full name
}

// Calls gives the calls that a function makes to another one, by ascending address, and where that one is inlined, the
// calls that it would make: in either case its arguments are about to be used.
func (c *GoCode) Calls(from GoFunc, to string) []GoCall {
	var out []GoCall
	for in := range c.im.instructions(from.linked.Entry, from.linked.End) {
		callee, ok := c.table.Find(in.target)
		if !ok || callee.Entry != in.target {
			continue
		}
		name := c.table.Name(callee.Name)
		inside := name == to
		places := c.table.Places(&from.linked, in.addr)
		for _, p := range places[:len(places)-1] {
			inside = inside || c.table.Name(p.Name) == to
		}
		if inside {
			out = append(out, GoCall{from.Offset + in.addr - from.linked.Entry, name})
		}
	}
	return out
}
