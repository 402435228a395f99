package target

import (
	"bytes"
	"runtime"

	"golang.org/x/arch/x86/x86asm"
)

// common gives the file offset of the function that two others on x86_64 call first, where that can be probed cheaply
// and they cannot: compilers begin small functions with something else than a push. The first one makes room on its
// stack for what the second has as its last argument.
func (im *image) common(a, b extent) (uint64, bool) {
	inner := im.callee(a)
	if inner == 0 || inner != im.callee(b) || !im.pushes(inner) || im.pushes(a.addr) && im.pushes(b.addr) {
		return 0, false
	}
	return im.returning(inner)
}

// callee gives the address of the function that one calls first, or goes on as, in its first instructions; 0: none, or
// not on x86_64.
func (im *image) callee(function extent) uint64 {
	const far = 80 // bytes
	if runtime.GOARCH != "amd64" {
		return 0
	}
	text := make([]byte, min(function.size, far))
	n, _ := im.at.ReadAt(text, int64(function.addr))
	at := function.addr
	for text = text[:n]; len(text) > 0; {
		if bytes.HasPrefix(text, landings[0]) {
			at, text = at+uint64(len(landings[0])), text[len(landings[0]):]
			continue
		}
		i, err := x86asm.Decode(text, 64)
		if err != nil {
			return 0
		}
		at, text = at+uint64(i.Len), text[i.Len:]
		if to, ok := i.Args[0].(x86asm.Rel); ok && (i.Op == x86asm.CALL || i.Op == x86asm.JMP) {
			if target := at + uint64(to); target-function.addr >= function.size {
				return target
			}
		}
	}
	return 0
}

// pushes tells whether a function on x86_64 begins with a push of a register.
func (im *image) pushes(function uint64) bool {
	text := make([]byte, 6)
	if _, err := im.at.ReadAt(text, int64(function)); err != nil {
		return false
	}
	text = bytes.TrimPrefix(text, landings[0])
	if text[0] == 0x41 { // one of r8 to r15
		text = text[1:]
	}
	return text[0]&^7 == 0x50
}
