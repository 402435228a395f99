package symbol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"sort"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

func lineAt(lines []span, offset int) int {
	i := sort.Search(len(lines), func(i int) bool { return int(lines[i].start) > offset })
	if i == 0 {
		return 0
	}
	return int(lines[i-1].line)
}

// Every code unit of some modules of the standard library must have the line that its own interpreter gives it.
func TestLineTableOfLibrary(t *testing.T) {
	onEach(t, func(t *testing.T, python targettest.Interpreter) {
		out, err := exec.Command(python.Path, "testdata/lines.py").Output()
		if err != nil {
			t.Fatal(err)
		}
		codes, units := 0, 0
		for text := range bytes.Lines(out) {
			var c struct {
				Name  string
				First int
				Table string
				Lines []int
			}
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			table, err := hex.DecodeString(c.Table)
			if err != nil {
				t.Fatal(err)
			}
			lines := lineTable(python.Minor, table, c.First)
			for unit, want := range c.Lines {
				if got := lineAt(lines, 2*unit); got != want {
					t.Fatalf("%s from line %d: unit %d: line %d, want %d", c.Name, c.First, unit, got, want)
				}
				units++
			}
			codes++
		}
		t.Logf("%d code objects, %d units", codes, units)
	})
}

// golden are tables of one function that each version compiled, and the line that it gives each code unit.
var golden = []struct {
	minor int
	table string
	first int
	lines []int
}{
	{8, "0002020102ff040408010801", 1, []int{3, 4, 3, 3, 7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9}},
	{9, "0002020102ff040408010801", 1, []int{3, 4, 3, 3, 7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9}},
	{10, "02800202020104ff080408010801", 1, []int{0, 3, 4, 3, 3, 7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9}},
	{11, "e800e8008000e0090ad8090af103010a0b8041f008000e0ff000010510f0000105108801d80e0f8807880788078807d80b148839d00414", 1, []int{1, 1, 1, 3, 4, 3, 3, 3, 7, 7, 7, 7, 8, 8, 8, 8, 8, 9, 9, 9}},
	{12, "e800f88000e0090ad8090af103010a0b8041f008000e0ff2000105108801d80e0f8b07f003010510e10b14d00414f9", 1, []int{1, 0, 1, 3, 4, 3, 3, 3, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 7, 9, 9, 9, 0, 0}},
	{13, "e9008000e0090ad8090af103010a0b8041f308000e0f8801d80e0f8c07f103000e0fe10b14d00414f9", 1, []int{1, 1, 1, 3, 4, 3, 3, 3, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 7, 7, 9, 9, 9, 0, 0}},
}

func TestLineTable(t *testing.T) {
	for _, g := range golden {
		table, err := hex.DecodeString(g.table)
		if err != nil {
			t.Fatal(err)
		}
		lines := lineTable(g.minor, table, g.first)
		for unit, want := range g.lines {
			if got := lineAt(lines, 2*unit); got != want {
				t.Errorf("3.%d, unit %d: line %d, want %d", g.minor, unit, got, want)
			}
		}
	}
}

func TestLineTableSteps(t *testing.T) {
	for _, test := range []struct {
		name          string
		minor         int
		table         []byte
		offset, first int
		want          int
	}{
		{"long gap of offsets", 9, []byte{255, 0, 45, 3}, 300, 10, 13},
		{"long gap of lines", 9, []byte{6, 127, 0, 127, 0, 46}, 6, 10, 310},
		{"backwards", 9, []byte{6, 0x80, 0, 0x80}, 6, 300, 44},
		{"before a step", 9, []byte{6, 1}, 4, 10, 10},
		{"half a pair", 9, []byte{6, 1, 2}, 8, 10, 11},
		{"no line", 10, []byte{4, 1, 2, 0x80, 2, 1}, 4, 10, 0},
		{"after no line", 10, []byte{4, 1, 2, 0x80, 2, 1}, 6, 10, 12},
		{"past the end", 10, []byte{4, 1}, 4, 10, 0},
		{"long form", 11, []byte{0x80 | 14<<3, 0x50, 0x0a, 0, 1, 1}, 0, 10, 10 + (0x10|0xa<<6)>>1},
		{"no columns, backwards", 11, []byte{0x80 | 13<<3, 7}, 0, 10, 7},
		{"no location", 11, []byte{0x80 | 15<<3}, 0, 10, 0},
		{"two lines on", 11, []byte{0x80 | 12<<3 | 1, 0, 0}, 2, 10, 12},
		{"negative line", 11, []byte{0x80 | 13<<3, 0x7f, 0x3f}, 0, 10, 0},
	} {
		if got := lineAt(lineTable(test.minor, test.table, test.first), test.offset); got != test.want {
			t.Errorf("%s: line %d, want %d", test.name, got, test.want)
		}
	}
}

func FuzzLineTable(f *testing.F) {
	for _, g := range golden {
		table, err := hex.DecodeString(g.table)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(g.minor, table, g.first)
	}
	f.Fuzz(func(t *testing.T, minor int, table []byte, first int) {
		lines := lineTable(minor, table, int(int32(first)))
		for i, s := range lines {
			if s.line < 0 || i > 0 && s.start <= lines[i-1].start {
				t.Fatalf("span %d of %v", i, lines)
			}
		}
	})
}

// TestLineNear asks for the lines of instructions some of which have none of their own.
func TestLineNear(t *testing.T) {
	lines := []span{{0, 0}, {4, 11}, {10, 0}, {14, 12}, {20, 0}}
	for offset, want := range map[int64]int{0: 10, 2: 10, 4: 11, 8: 11, 10: 11, 12: 11, 14: 12, 18: 12, 20: 0, 100: 0} {
		if got := lineNear(lines, offset, 10); got != want {
			t.Errorf("at %d: line %d, want %d", offset, got, want)
		}
	}
}
