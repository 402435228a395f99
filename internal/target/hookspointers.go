package target

import (
	"bufio"
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// pointers reads the pointers in an image's data as the dynamic linker makes them. Without a relocation a pointer is the
// word that lies there: in executables with a fixed address, where relocations are packed (DT_RELR), and in memory.
type pointers struct {
	im     *image
	symtab uint64
	relocs []relocation // by address, ascending
}

// relocation puts symbol + addend at an address. Symbol 0 stands for the image itself.
type relocation struct {
	at, addend uint64
	symbol     uint32
}

// Bounds of the search for pointers. The largest libpython has 40,000 relocations and 20 MiB in its segments.
const (
	maxRelocations = 1 << 20
	maxScan        = 128 << 20
	maxFound       = 64
	scanChunk      = 256 << 10
)

// relocationSize is the size of elf.Rela64 in the file, symbolSize that of elf.Sym64.
const (
	relocationSize = 24
	symbolSize     = 24
)

func (im *image) pointers() (*pointers, error) {
	p := &pointers{im: im}
	if im.file == nil {
		return p, nil
	}
	table := im.dynamicValues(elf.DT_RELA, elf.DT_RELASZ, elf.DT_SYMTAB) //nolint:misspell // ELF's own word
	size := table[1] - table[1]%relocationSize
	if size > maxRelocations*relocationSize {
		return nil, fmt.Errorf("%d bytes of relocations: more than %d", size, maxRelocations*relocationSize)
	}
	p.symtab = table[2]
	r := bufio.NewReaderSize(io.NewSectionReader(im.at, int64(table[0]), int64(size)), scanChunk)
	for range size / relocationSize {
		var raw [relocationSize]byte
		if _, err := io.ReadFull(r, raw[:]); err != nil {
			return nil, fmt.Errorf("read relocations: %w", err)
		}
		p.add(elf.Rela64{
			Off:    binary.LittleEndian.Uint64(raw[:]),
			Info:   binary.LittleEndian.Uint64(raw[8:]),
			Addend: int64(binary.LittleEndian.Uint64(raw[16:])),
		})
	}
	slices.SortFunc(p.relocs, func(a, b relocation) int { return cmp.Compare(a.at, b.at) })
	return p, nil
}

// add keeps a relocation that makes a pointer. The numbers of the two architectures do not overlap.
func (p *pointers) add(r elf.Rela64) {
	symbol := uint32(0)
	switch kind := uint32(r.Info); kind {
	case uint32(elf.R_X86_64_RELATIVE), uint32(elf.R_AARCH64_RELATIVE):
	case uint32(elf.R_X86_64_64), uint32(elf.R_AARCH64_ABS64):
		symbol = uint32(r.Info >> 32)
	default:
		return
	}
	p.relocs = append(p.relocs, relocation{r.Off, uint64(r.Addend), symbol})
}

// dynamicValues gives the values of entries of the dynamic section; 0 where there is no such entry.
func (im *image) dynamicValues(tags ...elf.DynTag) []uint64 {
	out := make([]uint64, len(tags))
	for _, s := range im.progs {
		if elf.ProgType(s.Type) != elf.PT_DYNAMIC {
			continue
		}
		entries := make([]elf.Dyn64, min(s.Filesz/16, maxDynamic))
		if readStruct(im.at, int64(s.Vaddr), entries) != nil {
			continue
		}
		for _, e := range entries {
			if i := slices.Index(tags, elf.DynTag(e.Tag)); i >= 0 {
				out[i] = e.Val
			}
		}
		break // there is one at most
	}
	return out
}

// load gives where the pointer at an address leads, by the file's own addresses. One that leads to a symbol of another
// file leads nowhere.
func (p *pointers) load(at uint64) (uint64, bool) {
	i, found := slices.BinarySearchFunc(p.relocs, at, func(r relocation, at uint64) int { return cmp.Compare(r.at, at) })
	if !found {
		var word uint64
		err := readStruct(p.im.at, int64(at), &word)
		return word - p.im.bias, err == nil
	}
	r := p.relocs[i]
	if r.symbol == 0 {
		return r.addend, true
	}
	var s elf.Sym64
	err := readStruct(p.im.at, int64(p.symtab+symbolSize*uint64(r.symbol)), &s)
	return s.Value + r.addend, err == nil && s.Shndx != 0
}

// toNames gives for each name the addresses of the pointers to a C string of that text, ascending. Linkers let a string
// be the end of a longer one.
func (p *pointers) toNames(names ...string) map[string][]uint64 {
	strings := p.im.findStrings(names)
	out := map[string][]uint64{}
	found := func(at, to uint64) {
		if name, ok := strings[to]; ok && len(out[name]) < maxFound {
			out[name] = append(out[name], at)
		}
	}
	for _, r := range p.relocs {
		if r.symbol == 0 {
			found(r.at, r.addend)
		}
	}
	p.im.scan(elf.PF_X, 0, func(addr uint64, text []byte) {
		skip := -addr % 8
		for text = text[min(skip, uint64(len(text))):]; len(text) >= 8; text = text[8:] {
			found(addr+skip, binary.LittleEndian.Uint64(text)-p.im.bias)
			addr += 8
		}
	})
	for name, list := range out {
		slices.Sort(list)
		out[name] = slices.Compact(list)
	}
	return out
}

// findStrings gives where C strings with those texts lie in the segments that cannot be written to.
func (im *image) findStrings(names []string) map[uint64]string {
	longest := 0
	for _, name := range names {
		longest = max(longest, len(name))
	}
	out := map[uint64]string{}
	im.scan(elf.PF_W, longest, func(addr uint64, text []byte) {
		for _, name := range names {
			pattern := []byte(name + "\x00")
			for at, left := uint64(0), maxFound; left > 0; left-- {
				i := bytes.Index(text[at:], pattern)
				if i < 0 {
					break
				}
				at += uint64(i)
				out[addr+at] = name
				at++
			}
		}
	})
	return out
}

// scan passes over the loaded segments without those flags, a chunk at a time. Each chunk goes on for so many bytes of
// the next one.
func (im *image) scan(without elf.ProgFlag, overlap int, visit func(addr uint64, text []byte)) {
	buf := make([]byte, scanChunk+overlap)
	limit := uint64(maxScan)
	for _, s := range im.progs {
		if elf.ProgType(s.Type) != elf.PT_LOAD || elf.ProgFlag(s.Flags)&without != 0 {
			continue
		}
		size := min(s.Filesz, limit)
		limit -= size
		for at := uint64(0); at < size; at += scanChunk {
			part := buf[:min(uint64(len(buf)), size-at)]
			n, err := im.at.ReadAt(part, int64(s.Vaddr+at))
			visit(s.Vaddr+at, part[:n])
			if err != nil {
				break
			}
		}
	}
}
