package target

import (
	"encoding/binary"
	"iter"

	"golang.org/x/arch/x86/x86asm"
)

// instruction is what is of use in an instruction of Go's code.
type instruction struct {
	addr, size uint64
	target     uint64 // of a call; 0 where it is none or calls what a register says
	limit      bool   // uses the end of the goroutine's stack, g.stackguard0
	branch     bool   // a conditional one
	push       bool   // push %rbp on x86_64
	constant   uint64 // address that it makes; 0 where it makes none

	// memory that it reads or writes a pointer at, by constant addresses; 0 where there is none
	loads, stores [2]uint64
}

// instructions decodes a function's code, as far as it can be.
func (im *image) instructions(entry, end uint64) iter.Seq[instruction] {
	code := make([]byte, min(end-entry, maxCode))
	n, _ := im.at.ReadAt(code, int64(entry))
	if im.arm64 {
		return arm64Instructions(code[:n], entry)
	}
	return amd64Instructions(code[:n], entry)
}

// stackguard is the offset of g.stackguard0 (Go src/runtime/runtime2.go).
const stackguard = 16

// maxCode bounds how much of one function is decoded, in bytes.
const maxCode = 64 << 10

func amd64Instructions(code []byte, addr uint64) iter.Seq[instruction] {
	return func(yield func(instruction) bool) {
		for len(code) > 0 {
			decoded, err := x86asm.Decode(code, 64)
			if err != nil || !yield(amd64Instruction(&decoded, addr)) {
				return
			}
			addr += uint64(decoded.Len)
			code = code[decoded.Len:]
		}
	}
}

func amd64Instruction(decoded *x86asm.Inst, addr uint64) instruction {
	in := instruction{addr: addr, size: uint64(decoded.Len)}
	next := addr + in.size
	if to, ok := decoded.Args[0].(x86asm.Rel); ok {
		if decoded.Op == x86asm.CALL {
			in.target = next + uint64(int64(to))
		}
		in.branch = decoded.Op != x86asm.CALL && decoded.Op != x86asm.JMP
	}
	in.push = decoded.Op == x86asm.PUSH && decoded.Args[0] == x86asm.RBP
	if m, ok := decoded.Args[1].(x86asm.Mem); ok && decoded.Op == x86asm.CMP {
		in.limit = m.Base == x86asm.R14 && m.Disp == stackguard
	}
	if m, ok := decoded.Args[1].(x86asm.Mem); ok && decoded.Op == x86asm.LEA && m.Base == x86asm.RIP {
		in.constant = next + uint64(m.Disp)
	}
	if decoded.Op == x86asm.MOV && decoded.DataSize == 64 {
		if m, ok := decoded.Args[0].(x86asm.Mem); ok && m.Base == x86asm.RIP {
			in.stores[0] = next + uint64(m.Disp)
		}
		if m, ok := decoded.Args[1].(x86asm.Mem); ok && m.Base == x86asm.RIP {
			in.loads[0] = next + uint64(m.Disp)
		}
	}
	return in
}

// arm64Instructions follows the addresses that adrp and add make (Arm Architecture Reference Manual, C4.1).
func arm64Instructions(code []byte, addr uint64) iter.Seq[instruction] {
	return func(yield func(instruction) bool) {
		var known [32]uint64 // addresses in registers
		for ; len(code) >= 4; code = code[4:] {
			if !yield(arm64Instruction(binary.LittleEndian.Uint32(code), addr, &known)) {
				return
			}
			addr += 4
		}
	}
}

func arm64Instruction(word uint32, addr uint64, known *[32]uint64) instruction {
	in := instruction{addr: addr, size: 4}
	to, from := word&31, word>>5&31
	imm12 := uint64(word >> 10 & 0xfff)
	imm7 := uint64(int64(int32(word<<10)>>25)) * 8
	base := known[from]
	switch {
	case word&0xfc000000 == 0x94000000: // bl
		in.target = addr + uint64(int64(int32(word<<6)>>6)*4)
	case word&0xff000010 == 0x54000000: // b.cond
		in.branch = true
	case word&0x9f000000 == 0x90000000: // adrp
		pages := int64(int32(word<<8)>>13<<2) | int64(word>>29&3)
		known[to] = addr&^0xfff + uint64(pages<<12)
	case word&0xffc00000 == 0x91000000 && base != 0: // add
		known[to] = base + imm12
		in.constant = known[to]
	case word&0xffc00000 == 0xf9000000 && base != 0: // str
		in.stores[0] = base + 8*imm12
	case word&0xffc00000 == 0xf9400000: // ldr
		if base != 0 {
			in.loads[0] = base + 8*imm12
		}
		in.limit = from == 28 && 8*imm12 == stackguard
		known[to] = 0
	case word&0xffc00000 == 0xa9000000 && base != 0: // stp
		in.stores = [2]uint64{base + imm7, base + imm7 + 8}
	case word&0xffc00000 == 0xa9400000: // ldp
		if base != 0 {
			in.loads = [2]uint64{base + imm7, base + imm7 + 8}
		}
		known[to], known[word>>10&31] = 0, 0
	}
	return in
}
