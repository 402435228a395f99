package target

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
)

// extent is where a symbol lies, by the file's own addresses.
type extent struct{ addr, size uint64 }

// lookup finds defined symbols by name: first in the dynamic table, then, where the file is at hand, in .symtab. Names
// that are not found are missing from the result.
func (im *image) lookup(names ...string) map[string]extent {
	out := map[string]extent{}
	d := im.dynamic()
	for _, name := range names {
		if e, ok := d.lookup(name); ok {
			out[name] = e
		}
	}
	if len(out) < len(names) && im.file != nil {
		im.lookupSymtab(names, out)
	}
	return out
}

// dynamic is what the dynamic section tells.
type dynamic struct {
	at                              io.ReaderAt
	symtab, strtab, gnuHash, hash   uint64
	strsz                           uint64
	needed                          []uint64
	hasSymbols, hasGNUHash, hasHash bool
}

func (im *image) dynamic() *dynamic {
	d := &dynamic{at: im.at}
	for _, p := range im.progs {
		if elf.ProgType(p.Type) != elf.PT_DYNAMIC {
			continue
		}
		entries := make([]elf.Dyn64, min(p.Filesz/16, maxDynamic))
		if readStruct(im.at, int64(p.Vaddr), entries) != nil {
			continue
		}
		for _, e := range entries {
			d.add(elf.DynTag(e.Tag), e.Val, im.bias)
		}
		break // there is one at most
	}
	return d
}

func (d *dynamic) add(tag elf.DynTag, value, bias uint64) {
	addr := value
	if bias != 0 && addr >= bias { // the dynamic linker adds the bias to some of them, in place
		addr -= bias
	}
	switch tag {
	case elf.DT_SYMTAB:
		d.symtab, d.hasSymbols = addr, true
	case elf.DT_STRTAB:
		d.strtab = addr
	case elf.DT_STRSZ:
		d.strsz = value
	case elf.DT_GNU_HASH:
		d.gnuHash, d.hasGNUHash = addr, true
	case elf.DT_HASH:
		d.hash, d.hasHash = addr, true
	case elf.DT_NEEDED:
		d.needed = append(d.needed, value)
	}
}

// libraries gives the names of the shared libraries that the file asks for.
func (d *dynamic) libraries() []string {
	var out []string
	for _, off := range d.needed {
		if name, ok := d.name(off, 256); ok {
			out = append(out, name)
		}
	}
	return out
}

// name reads a name of at most limit bytes from the string table.
func (d *dynamic) name(off, limit uint64) (string, bool) {
	if off >= d.strsz {
		return "", false
	}
	text := make([]byte, min(limit+1, d.strsz-off))
	if _, err := d.at.ReadAt(text, int64(d.strtab+off)); err != nil {
		return "", false
	}
	end := bytes.IndexByte(text, 0)
	if end < 0 {
		return "", false
	}
	return string(text[:end]), true
}

func (d *dynamic) lookup(name string) (extent, bool) {
	switch {
	case !d.hasSymbols:
		return extent{}, false
	case d.hasGNUHash:
		return d.lookupGNU(name)
	case d.hasHash:
		return d.lookupSysV(name)
	}
	return extent{}, false
}

// lookupGNU walks the chain of the name's bucket in DT_GNU_HASH, whose words are: bucket count, first symbol, bloom
// words, bloom shift, bloom filter, buckets, chains.
func (d *dynamic) lookupGNU(name string) (extent, bool) {
	var h struct{ Buckets, First, Bloom, Shift uint32 }
	if readStruct(d.at, int64(d.gnuHash), &h) != nil || h.Buckets == 0 {
		return extent{}, false
	}
	sum := gnuHash(name)
	buckets := d.gnuHash + 16 + 8*uint64(h.Bloom)
	chains := buckets + 4*uint64(h.Buckets)
	i, ok := d.word(buckets + 4*uint64(sum%h.Buckets))
	if !ok || i < h.First {
		return extent{}, false
	}
	for range maxChain {
		link, ok := d.word(chains + 4*uint64(i-h.First))
		if !ok {
			break
		}
		if link|1 == sum|1 {
			if e, ok := d.symbol(i, name); ok {
				return e, true
			}
		}
		if link&1 != 0 {
			break
		}
		i++
	}
	return extent{}, false
}

// lookupSysV walks the chain of the name's bucket in DT_HASH, whose words are: bucket count, symbol count, buckets,
// chains.
func (d *dynamic) lookupSysV(name string) (extent, bool) {
	var h struct{ Buckets, Symbols uint32 }
	if readStruct(d.at, int64(d.hash), &h) != nil || h.Buckets == 0 {
		return extent{}, false
	}
	buckets := d.hash + 8
	chains := buckets + 4*uint64(h.Buckets)
	i, ok := d.word(buckets + 4*uint64(sysvHash(name)%h.Buckets))
	for steps := 0; ok && i != 0 && steps < maxChain; steps++ {
		if e, ok := d.symbol(i, name); ok {
			return e, true
		}
		i, ok = d.word(chains + 4*uint64(i))
	}
	return extent{}, false
}

func (d *dynamic) word(addr uint64) (uint32, bool) {
	var b [4]byte
	_, err := d.at.ReadAt(b[:], int64(addr))
	return binary.LittleEndian.Uint32(b[:]), err == nil
}

// symbol gives symbol number i if it is defined and has that name.
func (d *dynamic) symbol(i uint32, name string) (extent, bool) {
	var s elf.Sym64
	if readStruct(d.at, int64(d.symtab+24*uint64(i)), &s) != nil || s.Shndx == 0 || s.Value == 0 {
		return extent{}, false
	}
	found, ok := d.name(uint64(s.Name), uint64(len(name)))
	return extent{s.Value, s.Size}, ok && found == name
}

func gnuHash(name string) uint32 {
	h := uint32(5381)
	for i := range len(name) {
		h = h*33 + uint32(name[i])
	}
	return h
}

func sysvHash(name string) uint32 {
	var h uint32
	for i := range len(name) {
		h = h<<4 + uint32(name[i])
		h = (h ^ h>>24&0xf0) & 0x0fffffff
	}
	return h
}

// lookupSymtab adds to out what .symtab tells of the names that are not in it yet.
func (im *image) lookupSymtab(names []string, out map[string]extent) {
	sections := make([]elf.Section64, im.shnum)
	if im.shoff == 0 || readStruct(im.file, int64(im.shoff), sections) != nil {
		return
	}
	for _, s := range sections {
		if elf.SectionType(s.Type) != elf.SHT_SYMTAB || int(s.Link) >= len(sections) {
			continue
		}
		symbols := im.section(s, maxSymtab)
		text := im.section(sections[s.Link], maxStrtab)
		for _, name := range names {
			if _, ok := out[name]; !ok {
				if e, ok := findSymbol(symbols, text, name); ok {
					out[name] = e
				}
			}
		}
		return // there is one at most
	}
}

func (im *image) section(s elf.Section64, limit uint64) []byte {
	r := io.NewSectionReader(im.file, int64(s.Off), int64(min(s.Size, limit)))
	text, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return text
}

func findSymbol(symbols, text []byte, name string) (extent, bool) {
	for ; len(symbols) >= 24; symbols = symbols[24:] {
		at := int(binary.LittleEndian.Uint32(symbols))
		value := binary.LittleEndian.Uint64(symbols[8:])
		if binary.LittleEndian.Uint16(symbols[6:]) == 0 || value == 0 || at+len(name) >= len(text) {
			continue
		}
		if text[at+len(name)] == 0 && string(text[at:at+len(name)]) == name {
			return extent{value, binary.LittleEndian.Uint64(symbols[16:])}, true
		}
	}
	return extent{}, false
}
