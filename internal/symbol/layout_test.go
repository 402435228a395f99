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
