package target

import (
	"bytes"
	"debug/elf"
	"path"
	"strings"
)

// GoLibraries gives the paths of the libraries in a process that are built with Go's -buildmode=c-shared: a runtime of Go's
// that lives beside another's. Files with inodes that are known are left out, as is what cannot be read; the others are known
// afterwards.
func (p *Process) GoLibraries(maps []Mapping, known map[uint64]bool) (paths []string) {
	for _, m := range maps {
		if known[m.Inode] || !strings.Contains(m.Perm, "x") || !strings.Contains(path.Base(m.Path), ".so") {
			continue
		}
		known[m.Inode] = true
		if f, im, err := p.probeFile(m); err == nil {
			if im.hasGoNote() {
				paths = append(paths, m.Path)
			}
			f.Close()
		}
	}
	return paths
}

// goNote is how the note with the build's number begins, behind its size: its type, 4, and its owner (Go
// src/cmd/link/internal/ld/elf.go, .note.go.buildid).
const goNote = "\x04\x00\x00\x00Go\x00\x00"

// maxNotes bounds the notes of a segment that are read, in bytes.
const maxNotes = 4096

// hasGoNote tells an image that Go's linker has made, without a look at what it contains.
func (im *image) hasGoNote() bool {
	for _, segment := range im.progs {
		if elf.ProgType(segment.Type) != elf.PT_NOTE {
			continue
		}
		notes := make([]byte, min(segment.Filesz, maxNotes))
		if n, _ := im.file.ReadAt(notes, int64(segment.Off)); bytes.Contains(notes[:n], []byte(goNote)) {
			return true
		}
	}
	return false
}
