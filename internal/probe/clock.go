package probe

import "golang.org/x/sys/unix"

// Now is the time of the events' clock, ns.
func Now() uint64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return uint64(t.Nano())
}

// SleepUntil waits until a time of the events' clock, in the caller's thread: the runtime's timers would have another
// one wake it.
func SleepUntil(time uint64) {
	t := unix.NsecToTimespec(int64(time))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil) == unix.EINTR {
	}
}
