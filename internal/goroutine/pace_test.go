package goroutine

import (
	"testing"
	"time"
)

// TestPeriod has looks come as seldom as their cost asks for.
func TestPeriod(t *testing.T) {
	const us = time.Microsecond
	for _, test := range []struct {
		requests                int
		look, wake, least, most time.Duration
		lowered                 bool
	}{
		{0, 0, 0, shortest, shortest, false},
		{1, 10 * us, 10 * us, shortest, shortest, false},
		{50, 80 * us, 20 * us, shortest, shortest, false},
		{50, 180 * us, 20 * us, 2 * shortest, 2 * shortest, false},
		{500, 80 * us, 20 * us, 2 * shortest, 2 * shortest, false},
		{1000, 100 * us, 20 * us, precise, 5 * shortest, true},
		{5000, 300 * us, 20 * us, 10 * shortest, 15 * shortest, true},
	} {
		r := Reader{roots: test.requests, pace: pace{look: test.look}}
		if got, lowered := r.Period(test.wake); got < test.least || got > test.most || lowered != test.lowered {
			t.Errorf("looks of %v after wake-ups of %v: every %v, precision lowered: %v", test.look, test.wake, got, lowered)
		}
	}
}
