package target

import (
	"bytes"
	"debug/elf"
	"io"
	"os"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// Lookup must find what the standard library's reader finds by going through the whole table.
func TestLookup(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		file, err := os.Open(python.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		im, err := openImage(file)
		if err != nil {
			t.Fatal(err)
		}
		reference, err := elf.NewFile(file)
		if err != nil {
			t.Fatal(err)
		}
		symbols, err := reference.DynamicSymbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range symbols {
			got, ok := im.lookup(s.Name)[s.Name]
			if defined := s.Section != elf.SHN_UNDEF && s.Value != 0; ok != defined {
				t.Errorf("%s: %s found: %v, want %v", python.Path, s.Name, ok, defined)
			} else if ok && got.addr != s.Value {
				t.Errorf("%s: %s at %#x, want %#x", python.Path, s.Name, got.addr, s.Value)
			}
		}
	}
}

func FuzzImage(f *testing.F) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		f.Fatal(err)
	}
	defer self.Close()
	head := make([]byte, 4096)
	if _, err := io.ReadFull(self, head); err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add([]byte(elf.ELFMAG))
	f.Fuzz(func(t *testing.T, text []byte) {
		im, err := openImage(bytes.NewReader(text))
		if err != nil {
			return
		}
		im.goBuild()
		im.goModule(LastGoMinor)
		im.lookup("_PyRuntime")
		im.dynamic().libraries()
		(&Python{}).readVersion(im, extent{addr: 64}, "x")
	})
}
