package main

import (
	"slices"
	"testing"

	"apm-ebpf/internal/goroutine"
)

// TestSightsWait has some sight wait all the time, as while slow requests follow each other.
func TestSightsWait(t *testing.T) {
	var g goroutines
	for i := range uint64(1000) {
		g.keep(1, &goroutine.Sight{GoID: i, PCs: []uint64{i, i + 1}})
		g.add(sight{pid: 1})
		for ; g.gone < len(g.sights)-3; g.gone++ {
		}
		g.drop()
	}
	if len(g.sights) > 8 || len(g.pcs) > 8 {
		t.Errorf("%d sights and %d program counters are kept where 3 sights wait", len(g.sights), len(g.pcs))
	}
	for _, s := range g.sights[g.gone:] {
		if pcs := g.pcs[s.from:s.to]; s.GoID != 0 && !slices.Equal(pcs, []uint64{s.GoID, s.GoID + 1}) {
			t.Errorf("goroutine %d is at %d", s.GoID, pcs)
		}
	}
}
