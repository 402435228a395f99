package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// urgency has the agent's thread run ahead of all ordinary ones while it waits for what cannot wait: a request that
// begins while the CPU clocks are off, or the next look at goroutines. On a busy machine it would get a CPU some
// milliseconds later otherwise. What takes long is never done urgently: the services' threads would wait for it.
type urgency struct {
	denied bool // for want of CAP_SYS_NICE: times are less precise then
	raised bool
	nice   int32 // when it is not raised
}

// bind makes this goroutine's thread its own.
func (u *urgency) bind() {
	runtime.LockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		u.denied = true
		return
	}
	u.nice = before.Nice
}

func (u *urgency) raise() { u.set(true, unix.SCHED_RR, 1, 0) }
func (u *urgency) lower() { u.set(false, unix.SCHED_NORMAL, 0, u.nice) }

func (u *urgency) set(raised bool, policy, priority uint32, nice int32) {
	if u.denied || u.raised == raised {
		return
	}
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority, Nice: nice}, 0)
	if err != nil {
		u.denied = true
		return
	}
	u.raised = raised
}

// sleep waits until a time of CLOCK_MONOTONIC, ns.
func sleep(until uint64) {
	t := unix.NsecToTimespec(int64(until))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil) == unix.EINTR {
	}
}
