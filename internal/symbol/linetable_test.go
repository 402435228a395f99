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
