package target

import (
	"bytes"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hole maps three pages of this process with nothing where the second was, and gives the address of the first.
func hole(t *testing.T) (uint64, []byte) {
	t.Helper()
	mem, err := unix.MmapPtr(-1, 0, nil, 3*minPage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	all := unsafe.Slice((*byte)(mem), 3*minPage)
	for i := range all {
		all[i] = byte(i * 7)
	}
	content := bytes.Clone(all)
	if err := unix.MunmapPtr(unsafe.Add(mem, minPage), minPage); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.MunmapPtr(mem, minPage)
		unix.MunmapPtr(unsafe.Add(mem, 2*minPage), minPage)
	})
	return uint64(uintptr(mem)), content
}

func TestReadParts(t *testing.T) {
	base, content := hole(t)
	self := Memory(os.Getpid())
	var parts []Part
	var want []bool
	add := func(at, size uint64, ok bool) {
		parts = append(parts, Part{Addr: base + at, Buf: make([]byte, size)})
		want = append(want, ok)
	}
	add(8, 16, true)
	add(2*minPage, 64, true)
	add(minPage, 8, false)
	add(minPage-8, 8, true)
	add(minPage-8, 16, false)
	add(100, 0, true)
	add(20, 300, true)
	add(1<<63, 8, false)
	add(^base-3, 8, false) // wraps around
	for i := range uint64(3000) {
		add(i, 8, true)
	}
	add(3*minPage-8, 8, true)
	if err := self.ReadParts(parts); err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		if p.OK != want[i] {
			t.Errorf("part %d at %#x: OK is %v", i, p.Addr-base, p.OK)
		} else if at := p.Addr - base; p.OK && !bytes.Equal(p.Buf, content[at:at+uint64(len(p.Buf))]) {
			t.Errorf("part %d at %#x: wrong bytes", i, at)
		}
	}
}
