package probe

import (
	"errors"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestAlign has the clocks and the kernel's ticks share interrupts, as the kernel's own list of its timers tells.
func TestAlign(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := open(t, lacks{})
	p.timer.period = 4 * tick()
	for range 3 { // a busy machine may keep a clock from its tick
		if err := errors.Join(p.SetSampling(false), p.SetSampling(true)); err != nil {
			t.Fatal(err)
		}
		for len(p.timer.apart) > 0 {
			if err := p.Align(1); err != nil {
				t.Fatal(err)
			}
		}
		apart := fromTicks(t, p.timer)
		if slices.Max(apart) < 50*time.Microsecond {
			return
		}
		t.Log("apart from ticks:", apart)
	}
	t.Error("clocks have interrupts of their own")
}

var clockTimer = regexp.MustCompile(`perf_swevent_hrtimer[^\n]*\n # expires at (\d+)-`)

// fromTicks tells how far clocks are from the ticks.
func fromTicks(t *testing.T, timer *timer) (apart []time.Duration) {
	for len(apart) < len(timer.clocks) { // one that has just gone off is not on the list
		list, err := os.ReadFile("/proc/timer_list")
		if err != nil {
			t.Fatal(err)
		}
		apart = apart[:0]
		for _, m := range clockTimer.FindAllStringSubmatch(string(list), -1) {
			at, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			late := time.Duration(at) % tick()
			apart = append(apart, min(late, tick()-late))
		}
	}
	return apart
}

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
