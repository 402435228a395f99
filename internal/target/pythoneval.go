package target

import (
	"bytes"

	"golang.org/x/arch/x86/x86asm"
)

// evalFrame is the function of the interpreter that runs code.
const evalFrame = "_PyEval_EvalFrameDefault"

var unsetFrames seen[extent]

// UnsetFrame gives between which addresses a thread of the process is where 3.11 and 3.12 do not tell its topmost frame:
// evalFrame has put the address of a _PyCFrame of its own into the thread state, at cframe, and a frame into that, at
// current, only some instructions later (CPython Python/ceval.c). It gives zeros where that cannot be told, as on arm64
// and where the function has no symbol.
func (p *Process) UnsetFrame(cframe, current uint32) (from, to uint64) {
	im, err := p.image(p.Python.mapping)
	if err != nil {
		return 0, 0
	}
	defer im.close()
	look := func() (extent, error) {
		if im.arm64 {
			return extent{}, nil
		}
		return im.unsetFrame(im.lookup(evalFrame)[evalFrame].addr, int64(cframe), int64(current)), nil
	}
	found, err := unsetFrames.findIn(im, look)
	if err != nil || found.size == 0 {
		return 0, 0
	}
	return found.addr + p.Python.Bias, found.addr + found.size + p.Python.Bias
}

// unsetFrame looks at the first instructions of a function for those that store the address of a local variable into a
// structure at cframe, and something into that variable at current.
func (im *image) unsetFrame(function uint64, cframe, current int64) (unset extent) {
	const far = 512 // bytes
	text := make([]byte, far)
	n, _ := im.at.ReadAt(text, int64(function))
	if function == 0 {
		return extent{}
	}
	at := function
	locals := map[x86asm.Reg]x86asm.Mem{} // which hold addresses of local variables
	var variable x86asm.Mem
	for text = text[:n]; len(text) > 0; {
		if bytes.HasPrefix(text, landings[0]) {
			at, text = at+uint64(len(landings[0])), text[len(landings[0]):]
			continue
		}
		i, err := x86asm.Decode(text, 64)
		if err != nil || i.Op == x86asm.JMP || i.Op == x86asm.RET {
			return extent{}
		}
		at, text = at+uint64(i.Len), text[i.Len:]
		into, stores := i.Args[0].(x86asm.Mem)
		from, _ := i.Args[1].(x86asm.Reg)
		switch local, isLocal := locals[from]; {
		case unset.addr != 0:
			behind := variable.Disp + current - into.Disp
			if stores && into.Base == variable.Base && into.Index == 0 && behind >= 0 && behind < int64(i.MemBytes) {
				unset.size = at - unset.addr
				return unset
			}
		case stores && isLocal && i.Op == x86asm.MOV && into.Disp == cframe && into.Base != local.Base:
			unset.addr, variable = at, local
		}
		if to, ok := i.Args[0].(x86asm.Reg); ok {
			delete(locals, to)
			if m, ok := i.Args[1].(x86asm.Mem); ok && i.Op == x86asm.LEA && m.Index == 0 && (m.Base == x86asm.RSP || m.Base == x86asm.RBP) {
				locals[to] = m
			}
		}
	}
	return extent{}
}
