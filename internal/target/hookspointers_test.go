package target

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"testing"
)

// moduleFile lays out an ELF file with what _asyncio consists of, as different compilers and linkers do.
type moduleFile struct {
	typ      elf.Type
	relative uint32 // relocation type; 0: the pointers lie in place
	spec     bool   // 3.12 and later: the types are made from a PyType_Spec
	wraps    bool   // 3.9 and older
	entry    []byte // first bytes of the functions

	text, data []byte
	relocs     []elf.Rela64
}

// The segments' addresses; headers and constants lie at 0 in the file, the others at half their address.
const (
	fakeText, fakeData   = 0x1000, 0x1800
	fakeNames, fakeRelas = 0x200, 0x300
	fakeInit, fakeStep   = fakeText, fakeText + 0x40
	fakeWakeup, fakeDel  = fakeText + 0x80, fakeText + 0xc0
	fakeDynamic          = fakeData + 0x780
	fakeTextSize         = 0x100
	fakeDataSize         = 0x800
	fakeSize             = 64
)

const fakeStrings = "\x00TaskType\x00_asyncio.Task\x00_asyncio.TaskStepMethWrapper\x00TaskWakeupMethWrapper\x00task_wakeup\x00"

func nameAt(name string) uint64 {
	return fakeNames + uint64(bytes.Index([]byte(fakeStrings), []byte(name+"\x00")))
}

// point lays a pointer to value at an address of the data.
func (f *moduleFile) point(at, value uint64) {
	if f.relative == 0 {
		binary.LittleEndian.PutUint64(f.data[at-fakeData:], value)
		return
	}
	f.relocs = append(f.relocs, elf.Rela64{Off: at, Info: uint64(f.relative), Addend: int64(value)})
}

// addType lays out a type with one function, static or as a specification.
func (f *moduleFile) addType(at uint64, name string, s slot, function uint64) {
	if !f.spec {
		at += (&Python{}).header() + typeName
		f.point(at, nameAt(name))
		binary.LittleEndian.PutUint64(f.data[at+typeSize-fakeData:], fakeSize)
		f.point(at+typeDealloc, fakeDel)
		f.point(at+s.offset, function)
		return
	}
	f.point(at, nameAt(name))
	binary.LittleEndian.PutUint32(f.data[at+typeSize-fakeData:], fakeSize)
	f.point(at+specSlots, at+0x40)
	for i, number := range []uint32{52, s.number} { // Py_tp_dealloc first
		binary.LittleEndian.PutUint32(f.data[at+0x40+16*uint64(i)-fakeData:], number)
	}
	f.point(at+0x48, fakeDel)
	f.point(at+0x58, function)
}

func (f *moduleFile) build() []byte {
	f.text, f.data, f.relocs = bytes.Repeat([]byte{0x90}, fakeTextSize), make([]byte, fakeDataSize), nil
	for _, at := range []uint64{fakeInit, fakeStep, fakeWakeup} {
		copy(f.text[at-fakeText:], f.entry)
	}
	f.addType(fakeData, "_asyncio.Task", tpInit, fakeInit)
	f.addType(fakeData+0x180, "TaskStepMethWrapper", tpCall, fakeStep)
	if f.wraps {
		f.addType(fakeData+0x300, "TaskWakeupMethWrapper", tpCall, fakeWakeup)
	} else {
		f.point(fakeData+0x480, nameAt("task_wakeup"))
		f.point(fakeData+0x480+methMeth, fakeWakeup)
		f.data[0x480+methFlags] = methO
	}
	var dynamic, relas, out bytes.Buffer
	binary.Write(&relas, binary.LittleEndian, f.relocs)
	binary.Write(&dynamic, binary.LittleEndian, []elf.Dyn64{
		{Tag: int64(elf.DT_RELA), Val: fakeRelas}, //nolint:misspell // ELF's own word
		{Tag: int64(elf.DT_RELASZ), Val: uint64(relas.Len())},
	})
	copy(f.data[fakeDynamic-fakeData:], dynamic.Bytes())
	header := elf.Header64{Type: uint16(f.typ), Machine: uint16(elf.EM_X86_64), Phoff: 64, Phentsize: 56, Phnum: 4}
	copy(header.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	binary.Write(&out, binary.LittleEndian, header)
	load := func(kind elf.ProgType, flags elf.ProgFlag, addr, size uint64) {
		binary.Write(&out, binary.LittleEndian, elf.Prog64{Type: uint32(kind), Flags: uint32(flags), Off: addr / 2, Vaddr: addr, Filesz: size, Memsz: size})
	}
	load(elf.PT_LOAD, elf.PF_R, 0, fakeText/2)
	load(elf.PT_LOAD, elf.PF_R|elf.PF_X, fakeText, fakeTextSize)
	load(elf.PT_LOAD, elf.PF_R|elf.PF_W, fakeData, fakeDataSize)
	load(elf.PT_DYNAMIC, elf.PF_R|elf.PF_W, fakeDynamic, uint64(dynamic.Len()))
	file := make([]byte, fakeData/2+fakeDataSize)
	copy(file, out.Bytes())
	copy(file[fakeNames:], fakeStrings)
	copy(file[fakeRelas:], relas.Bytes())
	copy(file[fakeText/2:], f.text)
	copy(file[fakeData/2:], f.data)
	return file
}

var (
	push    = []byte{0x41, 0x57, 0x41, 0x56}
	endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa, 0x55}
	paciasp = []byte{0x3f, 0x23, 0x03, 0xd5, 0xfd, 0x7b, 0xbd, 0xa9}
)

// moduleFiles are the builds that the test machine may not have.
func moduleFiles() []*moduleFile {
	var out []*moduleFile
	for _, typ := range []elf.Type{elf.ET_DYN, elf.ET_EXEC} {
		for _, relative := range []uint32{0, uint32(elf.R_X86_64_RELATIVE), uint32(elf.R_AARCH64_RELATIVE)} {
			for _, entry := range [][]byte{push, endbr64, paciasp} {
				out = append(out, &moduleFile{typ: typ, relative: relative, wraps: true, entry: entry},
					&moduleFile{typ: typ, relative: relative, entry: entry}, &moduleFile{typ: typ, relative: relative, spec: true, entry: entry})
			}
		}
	}
	return out
}

func TestFindAsyncio(t *testing.T) {
	for _, f := range moduleFiles() {
		name := fmt.Sprintf("%v relocation %d spec %v wraps %v entry % x", f.typ, f.relative, f.spec, f.wraps, f.entry)
		im, err := openImage(bytes.NewReader(f.build()))
		if err != nil {
			t.Fatal(err)
		}
		a, err := findAsyncio(im)
		if err != nil || a == nil {
			t.Errorf("%s: %+v, %v", name, a, err)
			continue
		}
		past := uint64(4)
		if &f.entry[0] == &push[0] {
			past = 0
		}
		if a.TaskInit != fakeInit/2+past || a.TaskStep != fakeText/2+0x40+past || a.TaskWakeup != fakeText/2+0x80+past || a.TaskSize != fakeSize {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// What is found twice, or in part, is not guessed.
func TestFindAsyncioDoubtful(t *testing.T) {
	f := &moduleFile{typ: elf.ET_DYN, entry: push}
	init := (&Python{}).header() + typeName + tpInit.offset
	for name, change := range map[string]func(data []byte){
		"two types": func(data []byte) {
			copy(data[0x500:], data[:0x180])
			binary.LittleEndian.PutUint64(data[0x500+init:], fakeStep)
		},
		"no step":      func(data []byte) { clear(data[0x180:0x300]) },
		"data as code": func(data []byte) { binary.LittleEndian.PutUint64(data[init:], fakeData) },
		"no method":    func(data []byte) { data[0x480+methFlags] = 1 },
	} {
		text := f.build()
		change(text[fakeData/2:])
		im, err := openImage(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := findAsyncio(im); err == nil {
			t.Errorf("%s: found %+v", name, a)
		}
	}
}

// What is missing must not be taken for a function at the start of the first segment.
func TestCodeAtZero(t *testing.T) {
	segment := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: 0x1000}
	im := &image{progs: []elf.Prog64{segment}}
	im.at = fileByAddress{bytes.NewReader(make([]byte, 0x1000)), im.progs}
	if at, ok := im.entry(0); ok {
		t.Errorf("entry(0) = %#x", at)
	}
	if at, ok := im.entry(0x40); !ok || at != 0x40 {
		t.Errorf("entry(0x40) = %#x, %v", at, ok)
	}
}

// A string that lies across two reads of a segment, or at its very end, is found all the same.
func TestScanSplit(t *testing.T) {
	const name = "_asyncio.Task"
	for _, at := range []int{0, scanChunk - 5, scanChunk, 2*scanChunk - len(name) - 1, 3*scanChunk - len(name) - 1} {
		text := make([]byte, 3*scanChunk)
		copy(text[at:], name)
		segment := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Vaddr: 0x1000, Filesz: uint64(len(text))}
		im := &image{progs: []elf.Prog64{segment}}
		im.at = fileByAddress{bytes.NewReader(text), im.progs}
		if found := im.findStrings([]string{name}); len(found) != 1 || found[0x1000+uint64(at)] != name {
			t.Errorf("at %d: found %v", at, found)
		}
	}
}

func FuzzHooks(f *testing.F) {
	for _, file := range moduleFiles() {
		f.Add(file.build())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		im, err := openImage(bytes.NewReader(text))
		if err != nil {
			return
		}
		if a, err := findAsyncio(im); err == nil && a != nil {
			for _, at := range []uint64{a.TaskInit, a.TaskStep, a.TaskWakeup} {
				inside := false
				for _, s := range im.progs {
					inside = inside || elf.ProgFlag(s.Flags)&elf.PF_X != 0 && at-s.Off < s.Filesz
				}
				if !inside {
					t.Errorf("offset %#x is not in an executable segment", at)
				}
			}
		}
		im.types((&Python{}).header(), []string{"_asyncio.Task", "anext_awaitable"})
	})
}
