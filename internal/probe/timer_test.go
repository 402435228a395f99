package probe

import (
	"slices"
	"testing"
	"time"
)

// TestTypical has the gaps of interrupts be found among those that others make.
func TestTypical(t *testing.T) {
	const n, interrupt, noise = 60, 20 * time.Microsecond, 1100 * time.Nanosecond
	for name, c := range map[string]struct {
		gaps []time.Duration
		want time.Duration
	}{
		"none":                     {nil, 0},
		"interrupts alone":         {slices.Repeat([]time.Duration{interrupt}, n), interrupt},
		"some were missed":         {slices.Repeat([]time.Duration{interrupt}, n/2), interrupt},
		"beside many shorter ones": {append(slices.Repeat([]time.Duration{interrupt}, n), slices.Repeat([]time.Duration{noise}, 6*n)...), interrupt},
		"beside a few longer ones": {append(slices.Repeat([]time.Duration{interrupt}, n), time.Millisecond, time.Millisecond), interrupt},
	} {
		if got := typical(c.gaps, n); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
