package target

import (
	"bytes"
	"debug/elf"
)

// maxSearch bounds how much of a file is searched for one pattern, in bytes. The largest Go programs have 500 MiB.
const maxSearch = 1 << 30

// search passes over the loaded segments of some kind and tells the addresses of a pattern that are multiples of align,
// until one is accepted.
func (im *image) search(pattern []byte, align uint64, in func(elf.ProgFlag) bool, accept func(addr uint64) bool) bool {
	buf := make([]byte, scanChunk+len(pattern))
	limit := uint64(maxSearch)
	for _, s := range im.progs {
		if elf.ProgType(s.Type) != elf.PT_LOAD || !in(elf.ProgFlag(s.Flags)) {
			continue
		}
		size := min(s.Filesz, limit)
		limit -= size
		for at := uint64(0); at < size; at += scanChunk {
			part := buf[:min(uint64(len(buf)), size-at)]
			n, err := im.at.ReadAt(part, int64(s.Vaddr+at))
			for from := 0; ; from++ {
				i := bytes.Index(part[from:n], pattern)
				if i < 0 {
					break
				}
				from += i
				if addr := s.Vaddr + at + uint64(from); addr%align == 0 && accept(addr) {
					return true
				}
			}
			if err != nil {
				break
			}
		}
	}
	return false
}

func writable(f elf.ProgFlag) bool { return f&elf.PF_W != 0 }

func readOnly(f elf.ProgFlag) bool { return f&(elf.PF_W|elf.PF_X) == 0 }

func anySegment(elf.ProgFlag) bool { return true }
