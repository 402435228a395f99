package target

import (
	"bufio"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"apm-ebpf/internal/pclntab"
)

var errNoTable = errors.New("it has no table of functions as Go 1.20 and later make it: the executable is packed or obfuscated")

// maxCandidates bounds how many places are tried that look like a table or like what leads to it.
const maxCandidates = 16

// goModule finds the table of functions by its magic, and moduledata by its first word, which leads there. The names of
// sections would tell neither where they are stripped.
func (im *image) goModule(minor int) (m pclntab.Module, err error) {
	err = errNoTable
	left := maxCandidates
	header := make([]byte, pclntab.HeaderSize)
	accept := func(addr uint64) bool {
		if _, readErr := im.at.ReadAt(header, int64(addr)); readErr != nil || !pclntab.IsHeader(header) {
			return false
		}
		m, err = im.moduledata(addr, header, minor)
		left--
		return err == nil || left == 0
	}
	for _, kind := range []func(elf.ProgFlag) bool{readOnly, writable, anySegment} {
		if im.search(pclntab.Magic, 8, kind, accept) {
			break
		}
	}
	return m, err
}

// moduledata finds what leads to a table of functions.
func (im *image) moduledata(table uint64, header []byte, minor int) (m pclntab.Module, err error) {
	err = errors.New("nothing leads to its table of functions")
	left := maxCandidates
	accept := func(addr uint64) bool {
		raw, readErr := im.relocated(addr, pclntab.ModuleSize)
		if readErr != nil || binary.LittleEndian.Uint64(raw) != table+im.bias {
			return false
		}
		m, err = pclntab.ParseModule(raw, header, im.bias, minor)
		left--
		return err == nil || left == 0
	}
	if relErr := im.relatives(func(at, to uint64) bool { return to == table && accept(at) }); relErr != nil {
		return m, relErr
	}
	if err != nil && left > 0 {
		word := binary.LittleEndian.AppendUint64(nil, table+im.bias)
		im.search(word, 8, writable, accept)
	}
	return m, err
}

// relocated reads data as the dynamic linker makes it, by the file's own addresses.
func (im *image) relocated(addr, size uint64) ([]byte, error) {
	raw := make([]byte, size)
	if _, err := im.at.ReadAt(raw, int64(addr)); err != nil {
		return nil, err
	}
	err := im.relatives(func(at, to uint64) bool {
		if at >= addr && at-addr <= size-8 {
			binary.LittleEndian.PutUint64(raw[at-addr:], to)
		}
		return false
	})
	return raw, err
}

// maxRelatives bounds how many relocations are read. The largest position-independent Go programs have some 2,000,000.
const maxRelatives = 16 << 20

// relatives tells of each word that the dynamic linker makes an address of the image, until one is accepted.
func (im *image) relatives(accept func(at, to uint64) bool) error {
	if im.file == nil {
		return nil
	}
	table := im.dynamicValues(elf.DT_RELA, elf.DT_RELASZ) //nolint:misspell // ELF's own word
	count := table[1] / relocationSize
	if count > maxRelatives {
		return fmt.Errorf("%d relocations: more than %d", count, maxRelatives)
	}
	r := bufio.NewReaderSize(io.NewSectionReader(im.at, int64(table[0]), int64(count*relocationSize)), scanChunk)
	for range count {
		var raw [relocationSize]byte
		if _, err := io.ReadFull(r, raw[:]); err != nil {
			return fmt.Errorf("read relocations: %w", err)
		}
		switch binary.LittleEndian.Uint32(raw[8:]) {
		case uint32(elf.R_X86_64_RELATIVE), uint32(elf.R_AARCH64_RELATIVE):
			if accept(binary.LittleEndian.Uint64(raw[:]), binary.LittleEndian.Uint64(raw[16:])) {
				return nil
			}
		}
	}
	return nil
}
