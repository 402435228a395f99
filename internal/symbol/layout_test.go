package symbol

import (
	"slices"
	"testing"

	"apm-ebpf/internal/target"
)

func TestLayoutOfEveryVersion(t *testing.T) {
	type build struct {
		minor int
		free  bool
	}
	var want, got []build
	for minor := target.FirstMinor; minor <= target.LastMinor; minor++ {
		want = append(want, build{minor, false})
		if minor >= 13 {
			want = append(want, build{minor, true})
		}
	}
	for _, row := range layouts {
		got = append(got, build{row.Minor, row.FreeThreaded})
		if !row.sound() && row.CodeQualname != NoOffset {
			t.Errorf("the row of 3.%d is not sound", row.Minor)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("layouts of %v, want %v", got, want)
	}
}

// TestTaskCoroOf knows the tasks of CPython 3.10.4, and guesses at none.
func TestTaskCoroOf(t *testing.T) {
	row := Layout{Minor: 10, TaskCoro: 160, TaskSize: 192}
	for size, want := range map[uint32]uint32{192: 160, 184: 152, 200: 0, 0: 0} {
		if at, known := row.TaskCoroOf(size); at != want || known != (want != 0) {
			t.Errorf("3.10, tasks of %d bytes: %d, %v, want %d", size, at, known, want)
		}
	}
	row.Minor = 11
	if at, known := row.TaskCoroOf(184); known {
		t.Errorf("3.11, tasks of 184 bytes: %d", at)
	}
}
