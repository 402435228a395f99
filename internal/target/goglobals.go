package target

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/arch/x86/x86asm"

	"apm-ebpf/internal/pclntab"
)

// findAllGs gives the address of runtime.allgs, a slice of all goroutines, by the file's own addresses: the only three
// words in a row that runtime.allgadd loads to append to them.
func (im *image) findAllGs(allgadd pclntab.Func) (uint64, error) {
	loads, stores := map[uint64]bool{}, map[uint64]bool{}
	for in := range im.instructions(allgadd.Entry, allgadd.End) {
		for i := range in.loads {
			loads[in.loads[i]], stores[in.stores[i]] = true, true
		}
	}
	var found []uint64
	for addr := range loads {
		if addr != 0 && loads[addr+8] && loads[addr+16] && stores[addr+8] && stores[addr+16] {
			found = append(found, addr)
		}
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("runtime.allgadd appends to %d slices", len(found))
	}
	return found[0], nil
}

// checkSlice tells whether what lies at an address can be a slice.
func checkSlice(mem Memory, addr uint64) error {
	var raw [24]byte
	if err := mem.Read(raw[:], addr); err != nil {
		return err
	}
	if length, room := binary.LittleEndian.Uint64(raw[8:]), binary.LittleEndian.Uint64(raw[16:]); length > room {
		return fmt.Errorf("what runtime.allgadd appends to holds %d of %d", length, room)
	}
	return nil
}

// errNoG: x86_64 code of the runtime does not say where g is.
var errNoG = errors.New("runtime.mcall does not store g in the thread's memory")

// findG gives how far g lies from the TLS base of its thread on x86_64: runtime.mcall stores it there, by a constant or a
// register that was set just before. Where that comes from memory, which the dynamic linker fills, word reads it.
func (im *image) findG(mcall pclntab.Func, word func(addr uint64) (uint64, error)) (int64, error) {
	code := make([]byte, min(mcall.End-mcall.Entry, maxCode))
	n, _ := im.at.ReadAt(code, int64(mcall.Entry))
	var before x86asm.Inst
	for addr := mcall.Entry; n > 0; {
		in, err := x86asm.Decode(code[:n], 64)
		if err != nil {
			break
		}
		if m, ok := in.Args[0].(x86asm.Mem); ok && in.Op == x86asm.MOV && m.Segment == x86asm.FS {
			offset := int64(int32(m.Disp))
			if m.Base != 0 {
				base, err := loaded(&before, m.Base, addr, word)
				if err != nil {
					return 0, err
				}
				offset += base
			}
			if offset >= 0 { // thread-local variables of executables lie below the base
				return 0, errNoG
			}
			return offset, nil
		}
		before = in
		addr += uint64(in.Len)
		code, n = code[in.Len:], n-in.Len
	}
	return 0, errNoG
}

// loaded gives what an instruction that ends at an address loads into a register.
func loaded(in *x86asm.Inst, into x86asm.Reg, end uint64, word func(addr uint64) (uint64, error)) (int64, error) {
	if in.Op != x86asm.MOV || in.Args[0] != into {
		return 0, errNoG
	}
	switch from := in.Args[1].(type) {
	case x86asm.Imm:
		return int64(from), nil
	case x86asm.Mem:
		if from.Base == x86asm.RIP {
			value, err := word(end + uint64(from.Disp))
			if err == nil && value == 0 {
				err = fmt.Errorf("%w: its dynamic linker has yet to place thread-local variables", ErrNotReady)
			}
			return int64(value), err
		}
	}
	return 0, errNoG
}
