package target

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// image is an ELF file as it lies in memory: readable by the virtual addresses of its program headers, from the file
// or, where the file is gone, from the process that runs it. Everything in it may be hostile, so every count is bounded
// and every address checked by the reader behind it. It knows 64-bit little-endian files only.
type image struct {
	typ   elf.Type
	arm64 bool // else x86_64
	progs []elf.Prog64
	at    io.ReaderAt // by virtual address
	file  io.ReaderAt // nil when read from memory
	under io.Closer   // what file reads; nil when read from memory
	shoff uint64
	shnum int
	bias  uint64 // by which the dynamic section's addresses may be shifted: non-zero in memory only
}

// Bounds of what an ELF file may ask us to read. The largest libpython has some 60 program and section headers, 20,000
// symbols and 1 MiB of names.
const (
	maxHeaders = 512
	maxDynamic = 1024
	maxChain   = 1 << 14
	maxSymtab  = 16 << 20
	maxStrtab  = 32 << 20
)

var (
	errNotELF = errors.New("not a 64-bit little-endian ELF file")
	err32Bit  = errors.New("a 32-bit ELF file")
)

// openImage reads the headers of an ELF file.
func openImage(file io.ReaderAt) (*image, error) {
	im := &image{file: file}
	if err := im.readHeaders(file); err != nil {
		return nil, err
	}
	im.at = fileByAddress{file, im.progs}
	return im, nil
}

// openMemoryImage reads the headers of an ELF file mapped at start in a process. Its symbol tables that are not mapped
// are out of reach.
func openMemoryImage(mem Memory, start uint64) (*image, error) {
	im := &image{}
	if err := im.readHeaders(memoryAt{mem, start}); err != nil {
		return nil, err
	}
	im.bias = im.biasAt(start)
	im.at = memoryAt{mem, im.bias}
	return im, nil
}

func (im *image) close() {
	if im.under != nil {
		im.under.Close()
	}
}

func (im *image) readHeaders(r io.ReaderAt) error {
	var h elf.Header64
	if err := readStruct(r, 0, &h); err != nil {
		return errNotELF
	}
	if string(h.Ident[:4]) == elf.ELFMAG && elf.Class(h.Ident[elf.EI_CLASS]) == elf.ELFCLASS32 {
		return err32Bit
	}
	if string(h.Ident[:4]) != elf.ELFMAG || elf.Class(h.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 ||
		elf.Data(h.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return errNotELF
	}
	if h.Phnum > maxHeaders || h.Shnum > maxHeaders || h.Phentsize != 56 {
		return fmt.Errorf("%d program and %d section headers: more than %d", h.Phnum, h.Shnum, maxHeaders)
	}
	im.typ, im.shoff, im.shnum = elf.Type(h.Type), h.Shoff, int(h.Shnum)
	im.arm64 = elf.Machine(h.Machine) == elf.EM_AARCH64
	im.progs = make([]elf.Prog64, h.Phnum)
	if err := readStruct(r, int64(h.Phoff), im.progs); err != nil {
		return fmt.Errorf("read program headers: %w", err)
	}
	return nil
}

// biasAt is what to add to the file's addresses when its first page is mapped at start.
func (im *image) biasAt(start uint64) uint64 {
	if im.typ == elf.ET_EXEC {
		return 0
	}
	for _, p := range im.progs {
		if elf.ProgType(p.Type) == elf.PT_LOAD {
			return start - (p.Vaddr-p.Off)&^(minPage-1)
		}
	}
	return start
}

const minPage = 4096

// constants gives the bytes of the segments that hold read-only data or code, up to limit in all.
func (im *image) constants(limit uint64) [][]byte {
	var out [][]byte
	for _, p := range im.progs {
		if elf.ProgType(p.Type) != elf.PT_LOAD || elf.ProgFlag(p.Flags)&elf.PF_W != 0 {
			continue
		}
		text, _ := io.ReadAll(io.NewSectionReader(im.at, int64(p.Vaddr), int64(min(p.Filesz, limit)))) // what there is
		out = append(out, text)
		limit -= uint64(len(text))
	}
	return out
}

// fileByAddress reads a file by virtual address.
type fileByAddress struct {
	file  io.ReaderAt
	progs []elf.Prog64
}

func (f fileByAddress) ReadAt(b []byte, addr int64) (int, error) {
	for _, p := range f.progs {
		into := uint64(addr) - p.Vaddr
		if elf.ProgType(p.Type) != elf.PT_LOAD || uint64(addr) < p.Vaddr || into >= p.Filesz {
			continue
		}
		cut := b[:min(uint64(len(b)), p.Filesz-into)]
		n, err := f.file.ReadAt(cut, int64(p.Off+into))
		if err == nil && len(cut) < len(b) {
			err = io.EOF
		}
		return n, err
	}
	return 0, io.EOF
}

// memoryAt reads a process from base on.
type memoryAt struct {
	mem  Memory
	base uint64
}

func (m memoryAt) ReadAt(b []byte, off int64) (int, error) {
	if err := m.mem.Read(b, m.base+uint64(off)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func readStruct(r io.ReaderAt, off int64, to any) error {
	if off < 0 {
		return io.EOF
	}
	return binary.Read(io.NewSectionReader(r, off, int64(binary.Size(to))), binary.LittleEndian, to)
}
