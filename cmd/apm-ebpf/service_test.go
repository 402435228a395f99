package main

import (
	"math"
	"testing"

	"apm-ebpf/internal/symbol"
)

// TestNameLost asks for the function of a code object whose end may have gone unseen, and that was told with another stack.
func TestNameLost(t *testing.T) {
	const code = 0x1000
	before := &symbol.Func{Name: "before"}
	s := &service{
		functions: map[uint64]*symbol.Func{code: before},
		toldAt:    map[uint64]uint64{code: 10},
		blindTo:   20,
	}
	for at, want := range map[uint64]*symbol.Func{9: before, 10: before, 15: symbol.Unknown, 20: before, math.MaxUint64: before} {
		s.at = at
		if got := s.function(code); got != want {
			t.Errorf("at %d it is %s, want %s", at, got.Name, want.Name)
		}
	}
	if s.namesLost != 1 {
		t.Errorf("%d names are lost, want 1", s.namesLost)
	}
}
