package symbol

import (
	"testing"

	"apm-ebpf/internal/target"
)

func TestLayoutOfEveryVersion(t *testing.T) {
	if want := target.LastMinor - target.FirstMinor + 1; len(layouts) != want {
		t.Fatalf("%d layouts, want %d", len(layouts), want)
	}
	for i, row := range layouts {
		if row.Minor != target.FirstMinor+i {
			t.Errorf("row %d is of 3.%d, want 3.%d", i, row.Minor, target.FirstMinor+i)
		}
		if !row.sound() && row.CodeQualname != NoOffset {
			t.Errorf("the row of 3.%d is not sound", row.Minor)
		}
	}
}
