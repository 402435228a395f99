package main

import (
	"os"
	"runtime"
	"strconv"

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

// bind makes this goroutine's thread its own, the only one whose timers are to be exact.
func (u *urgency) bind() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, exactSlack, 0, 0, 0)
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

// How much later than asked the kernel may wake a thread, ns.
const (
	exactSlack  = 50_000 // the kernel's default
	coarseSlack = 10_000_000
)

// coarsenTimers lets the kernel wake the threads that there are, and those that they start, whenever it is awake anyway.
// While any other is at work, Go's runtime has a thread look around every 20 µs at first (sysmon in runtime/proc.go),
// which on a busy machine takes the services' CPUs from them thousands of times a second. It needs CAP_SYS_NICE
// (fs/proc/base.c); without it all goes on as it was.
func coarsenTimers() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, thread := range threads {
		_ = os.WriteFile("/proc/"+thread.Name()+"/timerslack_ns", strconv.AppendInt(nil, coarseSlack, 10), 0)
	}
}
