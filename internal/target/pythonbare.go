package target

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"strconv"
)

// bare is what can be told of a CPython that is linked into an executable of which no symbols are left.
type bare struct {
	python    bool
	version   [3]int
	header    uint64 // size of an object's head
	code, str uint64 // the types
	runtime   extent // of _PyRuntime, 3.13 and later
}

var barePythons seen[bare]

// findBare looks for an interpreter in an executable without symbols, as fully static ones are after strip(1): the types of
// code objects and strings are told by their names, _PyRuntime by what it begins with or by what it points to. It gives
// nil where there is none.
func (p *Process) findBare(maps []Mapping) (*Python, error) {
	m, mapped := executable(maps, p.Exe)
	if !mapped {
		return nil, nil
	}
	im, err := p.image(m)
	if err != nil {
		return nil, err
	}
	defer im.close()
	b, err := barePythons.findIn(im, func() (bare, error) { return im.bare(path.Base(m.Path)) })
	if err != nil || !b.python {
		return nil, err
	}
	py := &Python{Major: b.version[0], Minor: b.version[1], Micro: b.version[2], Image: m.Path, Bias: im.biasAt(m.Start), mapping: m}
	if py.Minor <= 6 {
		return nil, &Unsupported{PID: p.PID, What: fmt.Sprintf("CPython %s without symbols (%s)", py.Version(), m.Path),
			Why: "where it keeps its interpreters cannot be told"}
	}
	py.setTypes(b.code, b.str)
	if b.runtime.addr != 0 {
		py.Runtime, py.RuntimeEnd = b.runtime.addr+py.Bias, b.runtime.addr+b.runtime.size+py.Bias
		py.Interpreters, err = p.interpreters(py)
	} else {
		err = p.searchInterpreters(py, im)
	}
	if err != nil {
		return nil, err
	}
	return py, p.started(py)
}

// bare looks for an interpreter in the file.
func (im *image) bare(base string) (bare, error) {
	b := bare{header: 16}
	im.search([]byte("xdebugpy"), 8, writable, func(addr uint64) bool {
		var word [4]uint64 // cookie, version, free-threaded, size of _PyRuntime: as debugFields of internal/symbol
		if readStruct(im.at, int64(addr), word[:]) != nil || word[1]>>24 != 3 || word[3] == 0 || word[3] > maxScan {
			return false
		}
		b.version = [3]int{3, int(word[1] >> 16 & 0xff), int(word[1] >> 8 & 0xff)}
		b.runtime = extent{addr, word[3]}
		if word[2] != 0 {
			b.header = 32
		}
		return true
	})
	var err error
	if b.code, b.str, err = im.codeTypes(b.header); err != nil || b.code == 0 || b.str == 0 {
		return bare{}, err
	}
	b.python = true
	if b.runtime.addr == 0 {
		py := &Python{}
		py.readVersion(im, extent{}, base)
		if py.Minor == 0 {
			py.Minor, py.Micro = im.versionWord()
		}
		b.version = [3]int{3, py.Minor, py.Micro}
	}
	return b, nil
}

// versionWord finds Py_Version of 3.11 and 3.12, which do not have their version in a path: a constant that a literal
// repeats. It gives 0 where there is none.
func (im *image) versionWord() (minor, micro int) {
	segments := im.constants(maxConstants)
	literals := map[int]int{}
	for _, minor := range []int{11, 12} {
		literals[minor] = largest(segments, "3."+strconv.Itoa(minor)+".", isVersionEnd)
	}
	for _, text := range segments {
		for ; len(text) >= 8; text = text[8:] {
			hex := binary.LittleEndian.Uint64(text)
			if hex>>24 != 3 || hex&0xf0 < 0xa0 {
				continue
			}
			minor, micro = int(hex>>16&0xff), int(hex>>8&0xff)
			if literal, known := literals[minor]; known && literal == micro {
				return minor, micro
			}
		}
	}
	return 0, 0
}

// searchInterpreters finds _PyRuntime.interpreters of 3.7 to 3.12 among the variables of the executable: the pointers to
// the newest and to the first interpreter lie side by side, each interpreter points to the one before it, and its thread
// states point back to it. The end of _PyRuntime stays unknown, and is taken for that of the variables.
func (p *Process) searchInterpreters(py *Python, im *image) error {
	s := interpreterSearch{mem: Memory(p.PID), threads: 8}
	switch py.Minor {
	case 11:
		s.threads = 16
	case 12:
		s.threads = 72
	}
	var found []uint64
	for _, seg := range im.progs {
		if elf.ProgType(seg.Type) != elf.PT_LOAD || elf.ProgFlag(seg.Flags)&elf.PF_W == 0 || seg.Memsz > maxScan {
			continue
		}
		variables := make([]byte, seg.Memsz)
		start := seg.Vaddr + py.Bias
		n, _ := io.ReadFull(io.NewSectionReader(memoryAt{s.mem, start}, 0, int64(seg.Memsz)), variables) // what there is
		for at := -start % 8; at+16 <= uint64(n); at += 8 {
			first, last := binary.LittleEndian.Uint64(variables[at+8:]), binary.LittleEndian.Uint64(variables[at:])
			if s.isList(last, first) {
				found = append(found, start+at)
				py.RuntimeEnd = start + seg.Memsz
			}
		}
	}
	switch len(found) {
	case 0:
		return p.notReady("it has no interpreter")
	case 1:
		py.Interpreters = found[0]
		py.Runtime = found[0] - headOffset(py.Minor)
		return nil
	}
	return fmt.Errorf("inspect process %d: %d places in %s could be those of its interpreters", p.PID, len(found), py.Image)
}

// interpreterSearch knows 3.7 to 3.12 interpreters by their looks.
type interpreterSearch struct {
	mem     Memory
	threads uint64 // PyInterpreterState.threads.head
}

// isList tells whether two interpreters, or one, are the last and the first of those that there are.
func (s *interpreterSearch) isList(last, first uint64) bool {
	if !isPointer(last) || !isPointer(first) || !s.isInterpreter(last) {
		return false
	}
	for range maxInterpreters {
		next, err := s.mem.word(last) // PyInterpreterState.next
		if err != nil || last == first {
			return err == nil && next == 0
		}
		if last = next; !isPointer(last) {
			return false
		}
	}
	return false
}

const maxInterpreters = 64

// isInterpreter tells one that has a thread whose state points back, by PyThreadState.interp.
func (s *interpreterSearch) isInterpreter(at uint64) bool {
	thread, err := s.mem.word(at + s.threads)
	if err != nil || !isPointer(thread) {
		return false
	}
	back, err := s.mem.word(thread + 16)
	return err == nil && back == at
}

func isPointer(word uint64) bool { return word >= minPage && word < 1<<56 && word%8 == 0 }
