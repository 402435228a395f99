package target

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What was found in a file is not looked for again, until the file is another.
func TestSeen(t *testing.T) {
	var s seen[int]
	looks := 0
	look := func() (int, error) { looks++; return looks, nil }
	open := func(name, text string) *os.File {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	a, b := open("a", "one"), open("b", "two")
	for i, step := range []struct {
		file *os.File
		want int
	}{{a, 1}, {a, 1}, {b, 2}, {a, 1}} {
		if got, err := s.find(step.file, look); got != step.want || err != nil {
			t.Errorf("step %d: %d, %v, want %d", i, got, err, step.want)
		}
	}
	if err := os.WriteFile(a.Name(), []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.find(a, look); got != 3 {
		t.Errorf("a changed file: %d, want a new look", got)
	}
	failed := errors.New("no")
	if _, err := s.find(open("c", ""), func() (int, error) { return 0, failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
}
