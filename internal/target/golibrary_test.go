package target

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// TestGoLibraries has Python load a library of Go's among its own.
func TestGoLibraries(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no C compiler")
	}
	dir := t.TempDir()
	library, source := filepath.Join(dir, "library.so"), filepath.Join(dir, "library.go")
	text := "package main\n\nimport \"C\"\n\n//export Nothing\nfunc Nothing() {}\n\nfunc main() {}\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", library, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	python := targettest.Interpreters(t)[0]
	for _, test := range []struct {
		load string
		want []string
	}{{"", nil}, {"ctypes.CDLL('" + library + "')", []string{library}}} {
		child := targettest.Start(t, exec.Command(python.Path, "-c", "import ctypes, ssl\n"+test.load+"\nprint('ready', flush=True)\ninput()"))
		child.Line()
		p, known := inspect(t, child.Process.Pid), map[uint64]bool{}
		maps, err := p.Mappings()
		if found := p.GoLibraries(maps, known); err != nil || !slices.Equal(found, test.want) {
			t.Errorf("finds %q, %v, want %q", found, err, test.want)
		}
		if again := p.GoLibraries(maps, known); len(again) > 0 {
			t.Errorf("finds %q again", again)
		}
	}
}
