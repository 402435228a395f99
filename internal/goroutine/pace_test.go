package goroutine

import (
	"testing"
	"time"
)

// TestPeriod has looks come as seldom as their cost asks for.
func TestPeriod(t *testing.T) {
	const us = time.Microsecond
	for _, test := range []struct {
		look, wake, least, most time.Duration
		lowered                 bool
	}{
		{0, 0, shortest, shortest, false},
		{10 * us, 10 * us, shortest, shortest, false},
		{40 * us, 20 * us, 2 * time.Millisecond, precise, false},
		{100 * us, 20 * us, precise, 5 * time.Millisecond, true},
		{300 * us, 20 * us, 10 * time.Millisecond, 15 * time.Millisecond, true},
	} {
		r := Reader{pace: pace{look: test.look}}
		if got, lowered := r.Period(test.wake); got < test.least || got > test.most || lowered != test.lowered {
			t.Errorf("looks of %v after wake-ups of %v: every %v, precision lowered: %v", test.look, test.wake, got, lowered)
		}
	}
}
