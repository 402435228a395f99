package main

import (
	"testing"

	"apm-ebpf/internal/symbol"
)

// TestNameLost asks for the function of a code object of which nothing was told, before its end could be seen and after.
func TestNameLost(t *testing.T) {
	const code, another = 0x1000, 0x2000
	known := &symbol.Func{Name: "known"}
	s := &service{functions: map[uint64]*symbol.Func{code: known}, blindTo: 20}
	for _, at := range []uint64{19, 20} {
		s.at = at
		if got := s.function(code); got != known {
			t.Errorf("at %d it is %s, want %s", at, got.Name, known.Name)
		}
		if got := s.function(another); got != symbol.Unknown {
			t.Errorf("at %d another is %s, want %s", at, got.Name, symbol.Unknown.Name)
		}
	}
	if s.namesLost != 1 {
		t.Errorf("%d names are lost, want 1", s.namesLost)
	}
}
