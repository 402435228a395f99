package target

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"slices"
)

// slot is a function of a type: its number in a PyType_Spec (CPython Include/typeslots.h) and its offset in a
// PyTypeObject from tp_name on (Include/cpython/object.h).
type slot struct {
	number uint32
	offset uint64
}

var (
	tpCall = slot{50, 104}
	tpInit = slot{60, 272}
)

const (
	typeName    = 8  // PyTypeObject.tp_name, from the end of the object's head: ob_size comes first
	typeSize    = 8  // .tp_basicsize, from tp_name on; PyType_Spec.basicsize too, an int
	typeDealloc = 24 // .tp_dealloc, likewise
	specSlots   = 24 // PyType_Spec.slots, .name being at 0
	methMeth    = 8  // PyMethodDef.ml_meth, .ml_name being at 0
	methFlags   = 16 // .ml_flags
	methO       = 8  // METH_O
	maxSlots    = 128
)

var errNoTask = errors.New("no type _asyncio.Task")

// findAsyncio finds the functions by the names of their types: the pointer to its name is in a static type,
// up to 3.11, and begins a PyType_Spec, from 3.12 on. It gives nil where there is no _asyncio.Task.
func findAsyncio(im *image) (*Asyncio, error) {
	p, err := im.pointers()
	if err != nil {
		return nil, err
	}
	const task, step, qualified = "_asyncio.Task", "TaskStepMethWrapper", "_asyncio.TaskStepMethWrapper"
	const wrapper, wakeup = "TaskWakeupMethWrapper", "task_wakeup"
	refs := p.toNames(task, step, qualified, wrapper, wakeup)
	if len(refs[task]) == 0 {
		return nil, nil
	}
	a := &Asyncio{}
	var ok [3]bool
	a.TaskInit, ok[0] = only(p.functions(refs[task], tpInit))
	a.TaskSize = p.sizeWith(refs[task], tpInit)
	a.TaskStep, ok[1] = only(p.functions(slices.Concat(refs[step], refs[qualified]), tpCall))
	if a.TaskWakeup, ok[2] = only(p.functions(refs[wrapper], tpCall)); !ok[2] {
		a.TaskWakeup, ok[2] = only(p.methods(refs[wakeup]))
	}
	for i, what := range []string{"tp_init of Task", "tp_call of TaskStepMethWrapper", "task_wakeup"} {
		if !ok[i] {
			return nil, errors.New("not found, or more than once: " + what)
		}
	}
	return a, nil
}

// functions gives what the types have in a slot whose names the pointers at refs point to.
func (p *pointers) functions(refs []uint64, s slot) []uint64 {
	var out []uint64
	for _, ref := range refs {
		if at := p.slotOf(ref, s); at != 0 {
			out = p.addEntry(out, at)
		}
	}
	return out
}

// slotOf gives the address of a slot of the type whose name the pointer at ref points to; 0 where it is no type's.
func (p *pointers) slotOf(ref uint64, s slot) uint64 {
	if p.isType(ref) {
		return ref + s.offset
	}
	return p.specSlot(ref, s.number)
}

// sizeWith gives how large an object of the type is that has such a slot, bytes.
func (p *pointers) sizeWith(refs []uint64, s slot) (size uint32) {
	for _, ref := range refs {
		if p.slotOf(ref, s) != 0 && readStruct(p.im.at, int64(ref+typeSize), &size) != nil {
			return 0
		}
	}
	return size
}

// specSlot gives the address of PyType_Slot.pfunc of that number in the PyType_Spec at spec; 0 where there is none.
func (p *pointers) specSlot(spec uint64, number uint32) uint64 {
	slots, ok := p.load(spec + specSlots)
	for range maxSlots {
		var s struct{ Number, Padding uint32 }
		if !ok || readStruct(p.im.at, int64(slots), &s) != nil || s.Number == 0 {
			break
		}
		if s.Number == number {
			return slots + 8
		}
		slots += 16
	}
	return 0
}

// isType tells a static type, given where its tp_name is, from other structures with a name: it has a destructor and a
// size.
func (p *pointers) isType(name uint64) bool {
	dealloc, _ := p.load(name + typeDealloc)
	_, isCode := p.im.code(dealloc)
	var size uint64
	err := readStruct(p.im.at, int64(name+typeSize), &size)
	return isCode && err == nil && size >= 16 && size < 4096
}

// methods gives the functions of the methods of one argument whose PyMethodDef are at refs.
func (p *pointers) methods(refs []uint64) []uint64 {
	var out []uint64
	for _, ref := range refs {
		var flags uint32
		if readStruct(p.im.at, int64(ref+methFlags), &flags) == nil && flags == methO {
			out = p.addEntry(out, ref+methMeth)
		}
	}
	return out
}

// addEntry adds the file offset of the function that the pointer at that address leads to, once.
func (p *pointers) addEntry(list []uint64, at uint64) []uint64 {
	function, ok := p.load(at)
	if offset, isCode := p.im.entry(function); ok && isCode && !slices.Contains(list, offset) {
		list = append(list, offset)
	}
	return list
}

func only(list []uint64) (uint64, bool) {
	if len(list) != 1 {
		return 0, false
	}
	return list[0], true
}

// code gives the offset in the file of an address in an executable segment. No function lies at 0, which is in one
// where linkers put headers and code together.
func (im *image) code(addr uint64) (uint64, bool) {
	for _, s := range im.progs {
		executable := elf.ProgType(s.Type) == elf.PT_LOAD && elf.ProgFlag(s.Flags)&elf.PF_X != 0
		if executable && addr != 0 && addr >= s.Vaddr && addr-s.Vaddr < s.Filesz {
			return s.Off + addr - s.Vaddr, true
		}
	}
	return 0, false
}

// addr undoes code.
func (im *image) addr(offset uint64) uint64 {
	for _, s := range im.progs {
		if elf.ProgType(s.Type) == elf.PT_LOAD && elf.ProgFlag(s.Flags)&elf.PF_X != 0 && offset-s.Off < s.Filesz {
			return s.Vaddr + offset - s.Off
		}
	}
	return 0
}

// landings are instructions that mark where indirect calls may land and do nothing else that a probe could notice, but
// for the last, which also signs the return address.
var landings = [][]byte{
	{0xf3, 0x0f, 0x1e, 0xfa}, // endbr64
	{0x5f, 0x24, 0x03, 0xd5}, // bti c
	{0x3f, 0x23, 0x03, 0xd5}, // paciasp
}

// entry gives the offset in the file of the instruction to probe of the function at addr. On x86_64 that is nearly
// always a push, which the kernel emulates in half a microsecond; most other instructions are stepped out of line, which
// takes twenty times as long (Linux arch/x86/kernel/uprobes.c, push_setup_xol_ops). So does endbr64, hence the
// instruction behind it: all calls pass there, nothing jumps there, and arguments and stack are as at the entry. The
// same goes for arm64, which steps nearly everything and refuses some of the hints (arch/arm64/kernel/probes/decode-insn.c).
func (im *image) entry(addr uint64) (uint64, bool) { return im.behind(addr, landings) }

// returning gives the same for a function that is to be probed as it returns, which replaces the return address.
func (im *image) returning(addr uint64) (uint64, bool) { return im.behind(addr, landings[:2]) }

// behind gives the offset in the file of an address, or of the instruction behind it if one of the marks is there.
func (im *image) behind(addr uint64, marks [][]byte) (uint64, bool) {
	offset, ok := im.code(addr)
	if !ok {
		return 0, false
	}
	var first [4]byte
	if _, err := im.at.ReadAt(first[:], int64(addr)); err != nil && err != io.EOF {
		return 0, false
	}
	if slices.ContainsFunc(marks, func(l []byte) bool { return bytes.Equal(l, first[:]) }) {
		if behind, ok := im.code(addr + uint64(len(first))); ok {
			return behind, true
		}
	}
	return offset, true
}
