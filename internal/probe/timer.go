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
	period time.Duration
	cpus   []int // that were online all the time since; the kernel lets go of a clock when its CPU goes offline
	clocks []clock
	links  []link.Link
	on     bool
	apart  []apart       // clocks that tick with the kernel not yet, since they were switched on
	takes  time.Duration // about as long as to restart one
	noLink bool          // the kernel, or what a test has it lack, has no links on perf events
}

type clock struct{ fd, cpu int }

// apart is a clock that may be brought to tick with the kernel.
type apart struct {
	clock
	tried int
}

func newTimer(program *ebpf.Program, frequency int, noLink bool) (*timer, error) {
	cpus, err := parseCPUs(onlineCPUs)
	if err != nil {
		return nil, err
	}
	t := &timer{cpus: cpus, period: time.Second / time.Duration(frequency), noLink: noLink}
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
	t.clocks = append(t.clocks, clock{fd, cpu})
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
	for _, c := range t.clocks {
		unix.Close(c.fd)
	}
}

// set switches the clocks.
func (t *timer) set(on bool) error {
	if t.on == on {
		return nil
	}
	t.on, t.apart = on, t.apart[:0]
	request := uint(unix.PERF_EVENT_IOC_DISABLE)
	if on {
		request = unix.PERF_EVENT_IOC_ENABLE
	}
	var errs []error
	for _, c := range t.clocks {
		errs = append(errs, unix.IoctlSetInt(c.fd, request, 0))
		if on && t.unit() > 0 {
			t.apart = append(t.apart, apart{clock: c})
		}
	}
	return errors.Join(errs...)
}

// align restarts n of the clocks that are apart at a tick of the kernel: then both share one interrupt, which is most of a
// sample's cost. Its thread must be this goroutine's own: it goes to each CPU for a moment, as an interrupt that asked
// the CPU would come at no certain time. Where it may not go the clock stays as it is.
func (t *timer) align(n int) error {
	if len(t.apart) == 0 {
		return nil
	}
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	var errs []error
	for range min(n, len(t.apart)) {
		c := t.apart[0]
		t.apart = append(t.apart[:0], t.apart[1:]...)
		var there unix.CPUSet
		there.Set(c.cpu)
		if unix.SchedSetaffinity(0, &there) != nil {
			continue
		}
		met, err := t.restart(c.clock)
		errs = append(errs, err)
		if c.tried++; !met && c.tried < alignTries {
			t.apart = append(t.apart, c)
		}
	}
	return errors.Join(append(errs, unix.SchedSetaffinity(0, &before))...)
}

const (
	lateness   = 150 * time.Microsecond // longer than a timer's wake-up takes
	sharing    = 2 * time.Microsecond   // as far apart at least two timers of the kernel share an interrupt
	alignTries = 10                     // then the machine is too busy
)

// tick is how often the kernel's own timer interrupts a busy CPU: what the coarse clocks resolve (posix_get_coarse_res,
// kernel/time/posix-timers.c).
func tick() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &t)
	return time.Duration(t.Nano())
}

// unit is the tick or the clocks' period, of which the other is a multiple; 0: it is none.
func (t *timer) unit() time.Duration {
	short, long := min(tick(), t.period), max(tick(), t.period)
	if short < 2*lateness || long%short != 0 {
		return 0
	}
	return short
}

// restart has the clock's periods begin at a multiple of the unit, as the ticks do (tick_setup_device,
// kernel/time/tick-common.c; 6.4 and the stable kernels since). It tells whether that was met as nearly as it takes long:
// where that is long so are interrupts, and what comes during one is done in it.
func (t *timer) restart(c clock) (met bool, err error) {
	period, unit := uint64(t.period), t.unit()
	next := (time.Duration(Now()) + lateness + t.takes).Truncate(unit) + unit
	begin := next - t.takes
	SleepUntil(uint64(begin - lateness))
	began := time.Duration(Now())
	for began < begin {
		began = time.Duration(Now())
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), unix.PERF_EVENT_IOC_PERIOD, uintptr(unsafe.Pointer(&period))); errno != 0 {
		return false, errno
	}
	done := time.Duration(Now())
	t.takes = min((3*t.takes+done-began)/4, lateness)
	return (done - next).Abs() <= max(sharing, t.takes), nil
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
