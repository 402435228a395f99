package e2e

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNames looks for functions of all kinds by their qualified names, or plain ones before 3.11.
func TestNames(t *testing.T) {
	sleepers := []struct {
		qualified string
		file      string
		seconds   float64
	}{
		{"Größe.測る", "names.py", 0.02},
		{"Größe.statisch", "names.py", 0.01},
		{"Größe.statisch.<locals>.déjà_vu", "names.py", 0.01},
		{"обработать", "names.py", 0.06},
		{"обработать.<locals>.<lambda>", "names.py", 0.01},
		{"zero", "names.py", 0.01}, // identifiers are normalised (NFKC)
		{"\U00020000", "astral 🐍.py", 0.01},
	}
	onEachPython(t, func(t *testing.T, python Python) {
		s := gunicorn(t, python, "names")
		a := attach(t, s.PID)
		if answer := s.get(t, "/"); answer.Text != "done" {
			t.Fatal(answer.Status, answer.Text)
		}
		r := a.exactly(t, 1)[0]
		checkSums(t, r)
		if want := fmt.Sprintf("cpython 3.%d.", python.Minor); !strings.HasPrefix(r.Request.Runtime, want) {
			t.Errorf("runtime is %q, want %s…", r.Request.Runtime, want)
		}
		frames, _ := r.frames(t)
		for _, want := range sleepers {
			name := want.qualified
			if python.Minor < 11 { // others may be called the same
				name = name[strings.LastIndexByte(name, '.')+1:]
			}
			i := slices.IndexFunc(frames, func(f *Frame) bool { return f.Function == name && filepath.Base(f.File) == want.file })
			if i < 0 {
				t.Errorf("no %s:\n%s", name, r.tree(t))
				continue
			}
			f := frames[i]
			if f.ShortFile != want.file || !f.App && strings.HasSuffix(f.File, "/names.py") || f.Line == 0 {
				t.Errorf("%s is told to be in %s, %s:%d, application's own: %t", name, f.File, f.ShortFile, f.Line, f.App)
			}
			if math.Abs(f.Time-want.seconds) > max(0.01, tolerance(want.seconds)) {
				t.Errorf("%s takes %.6f, want %.3f", name, f.Time, want.seconds)
			}
		}
	})
}
