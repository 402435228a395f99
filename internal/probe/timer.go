package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

var errClock = errors.New("open CPU clock")

const onlineCPUs = "/sys/devices/system/cpu/online"

// timer is a CPU-clock event on every online CPU with the sampling program on it.
type timer struct {
	period  time.Duration
	tick    time.Duration // of the kernel, 0: unknown
	cpus    []int         // that were online all the time since; the kernel lets go of a clock when its CPU goes offline
	fds     []int
	links   []link.Link
	on      bool
	aligned int  // of fds, since they were switched
	noLink  bool // the kernel, or what a test has it lack, has no links on perf events
}

func newTimer(program *ebpf.Program, frequency int, tick time.Duration, noLink bool) (*timer, error) {
	cpus, err := parseCPUs(onlineCPUs)
	if err != nil {
		return nil, err
	}
	t := &timer{cpus: cpus, period: time.Second / time.Duration(frequency), tick: tick, noLink: noLink}
	for _, cpu := range cpus {
		if err := t.open(program, -1, cpu); err != nil {
			t.close()
			return nil, fmt.Errorf("%w on CPU %d: %w", errClock, cpu, err)
		}
	}
	return t, nil
}

// unclocked gives the CPUs that have come online since.
func (t *timer) unclocked(online []int) []int {
	t.cpus = slices.DeleteFunc(t.cpus, func(cpu int) bool { return !slices.Contains(online, cpu) })
	return slices.DeleteFunc(online, func(cpu int) bool { return slices.Contains(t.cpus, cpu) })
}

func (t *timer) open(program *ebpf.Program, thread, cpu int) error {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Config: unix.PERF_COUNT_SW_CPU_CLOCK,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample: uint64(t.period), // a period: the kernel adapts a frequency far too slowly at first
		Bits:   unix.PerfBitDisabled,
	}, thread, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return err
	}
	t.fds = append(t.fds, fd)
	if !t.noLink {
		l, err := link.AttachRawLink(link.RawLinkOptions{Target: fd, Program: program, Attach: ebpf.AttachPerfEvent})
		if err == nil {
			t.links = append(t.links, l)
			return nil
		}
		t.noLink = true
	}
	return unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, program.FD())
}

// choice tells how the clocks run the program.
func (t *timer) choice() Choice {
	if t.noLink {
		return Choice{What: "CPU clocks", Uses: "perf_event by ioctl", Lacks: "perf_event by bpf_link (5.15)"}
	}
	return Choice{What: "CPU clocks", Uses: "perf_event by bpf_link"}
}

func (t *timer) close() {
	for _, l := range t.links {
		l.Close()
	}
	for _, fd := range t.fds {
		unix.Close(fd)
	}
}

// set switches the clocks.
func (t *timer) set(on bool) error {
	if t.on == on {
		return nil
	}
	t.on, t.aligned = on, 0
	request := uint(unix.PERF_EVENT_IOC_DISABLE)
	if on {
		request = unix.PERF_EVENT_IOC_ENABLE
	}
	var errs []error
	for _, fd := range t.fds {
		errs = append(errs, unix.IoctlSetInt(fd, request, 0))
	}
	return errors.Join(errs...)
}

// Clocks that are aligned at once: each waits for a tick, while the ring buffer fills.
const alignAtOnce = 4

// align restarts the next clocks shortly before a tick of the kernel: then both share one interrupt, which is
// most of a sample's cost.
func (t *timer) align() error {
	var errs []error
	next := t.fds[t.aligned:]
	for _, fd := range next[:min(alignAtOnce, len(next))] {
		t.awaitTick()
		errs = append(errs, unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_DISABLE, 0),
			unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0))
		t.aligned++
	}
	return errors.Join(errs...)
}

const (
	leadMin  = 10 * time.Microsecond // before the tick
	leadMax  = 35 * time.Microsecond
	lateness = 150 * time.Microsecond // longer than a timer's wake-up takes
	ticks    = 5                      // that are missed at most: then the machine is too busy
)

// awaitTick returns between leadMax and leadMin before a multiple of the tick or of the period, whichever
// is shorter. Ticks are at multiples of CLOCK_MONOTONIC (tick_setup_device, kernel/time/tick-common.c).
func (t *timer) awaitTick() {
	unit := min(t.tick, t.period)
	if unit < 2*lateness {
		return
	}
	next := time.Duration(Now()).Truncate(unit) + unit
	for range ticks {
		SleepUntil(uint64(next - leadMax - lateness))
		left := next - time.Duration(Now())
		for left > leadMax {
			left = next - time.Duration(Now())
		}
		if left >= leadMin {
			return
		}
		next += unit
	}
}

// parseCPUs reads a list such as 0-3,8.
func parseCPUs(path string) (cpus []int, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read online CPUs: %w", err)
	}
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		first, err1 := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || last < first || last > 1<<16 {
			return nil, fmt.Errorf("read online CPUs: %q in %s", part, path)
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// Frequencies to choose from, Hz, and the share of a CPU that sampling may take by itself.
var frequencies = []int{1000, 500, 250}

const samplingBudget = 0.005

// chooseFrequency gives the highest frequency whose interrupts stay within the budget on this machine:
// 1 to 2 µs each on metal, 20 and more in a nested virtual machine.
func chooseFrequency(program *ebpf.Program) int {
	cost, err := interruptCost(program)
	for _, f := range frequencies {
		if err == nil && cost.Seconds()*float64(f) <= samplingBudget {
			return f
		}
	}
	return frequencies[len(frequencies)-1]
}

const (
	probeFrequency = 4000
	probeTime      = 15 * time.Millisecond
	probeNoise     = time.Microsecond // a reading of the clock takes less
)

// interruptCost is the median time that an interrupt of the CPU clock takes from this thread.
func interruptCost(program *ebpf.Program) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := &timer{period: time.Second / probeFrequency}
	defer t.close()
	if err := t.open(program, 0, -1); err != nil { // this thread, wherever it runs
		return 0, err
	}
	if err := t.set(true); err != nil {
		return 0, err
	}
	var gaps []time.Duration
	for last, end := Now(), Now()+uint64(probeTime); last < end; {
		now := Now()
		if gap := time.Duration(now - last); gap > probeNoise {
			gaps = append(gaps, gap)
		}
		last = now
	}
	return typical(gaps, int(probeTime*probeFrequency/time.Second)), nil
}

// typical is the median of the n longest gaps: n interrupts make them. Those that a hypervisor makes for itself are shorter, be
// they many more, or few.
func typical(gaps []time.Duration, n int) time.Duration {
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	longest := gaps[max(0, len(gaps)-n):]
	return longest[len(longest)/2]
}
