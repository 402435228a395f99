package target

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"path"
)

// interpHead is the function of CPython 3.6 that gives the first interpreter. There is no _PyRuntime: what later versions
// keep in it are variables of the file, without names once that is stripped.
const interpHead = "PyInterpreterState_Head"

// is36 tells CPython 3.6 from others that have such a function.
func (im *image) is36(m Mapping, symbols map[string]extent) bool {
	if _, _, ok := im.oldRuntime(symbols[interpHead].addr); !ok {
		return false
	}
	py := &Python{}
	py.readVersion(im, extent{}, path.Base(m.Path))
	return py.Minor == 6
}

// oldRuntime gives the address of interp_head, which the function at that address loads and returns, and the extent of
// the segment of variables that it is in. The words of the interpreter lock lie there too, unlike those of other locks.
func (im *image) oldRuntime(function uint64) (head uint64, variables extent, ok bool) {
	text := make([]byte, 16)
	if n, _ := im.at.ReadAt(text, int64(function)); function == 0 || n < len(text) {
		return 0, variables, false
	}
	if bytes.HasPrefix(text, landings[0]) {
		text, function = text[4:], function+4
	}
	// mov interp_head(%rip),%rax; ret
	if !bytes.HasPrefix(text, []byte{0x48, 0x8b, 0x05}) || text[7] != 0xc3 {
		return 0, variables, false
	}
	head = function + 7 + uint64(int64(int32(binary.LittleEndian.Uint32(text[3:]))))
	for _, s := range im.progs {
		if elf.ProgType(s.Type) == elf.PT_LOAD && elf.ProgFlag(s.Flags)&elf.PF_W != 0 && head >= s.Vaddr && head+8 <= s.Vaddr+s.Memsz {
			return head, extent{s.Vaddr, s.Memsz}, true
		}
	}
	return 0, variables, false
}
