package probe

import (
	"bufio"
	"bytes"
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

// timer has samples taken: by the kernel's own ticks where they come at the right times, else by a CPU-clock event on every
// online CPU. A tick costs nothing more, while in a virtual machine what an interrupt has the CPU forget may cost a busy
// service half a millisecond. Idle CPUs have no ticks: where slow requests are to be noticed there too, one clock looks for them.
type timer struct {
	period time.Duration
	ticks  *ebpf.Variable // of which one takes a sample; nil: the clocks do
	slow   bool           // slow requests are looked for on an idle CPU
	cpus   []int          // that were online all the time since; the kernel lets go of a clock when its CPU goes offline
	fds    []int
	links  []link.Link
	on     bool
	noLink bool // the kernel, or what a test has it lack, has no links on perf events
}

func newTimer(frequency int, noLink bool) (*timer, error) {
	cpus, err := parseCPUs(onlineCPUs)
	if err != nil {
		return nil, err
	}
	return &timer{cpus: cpus, period: time.Second / time.Duration(frequency), noLink: noLink}, nil
}

// openClocks opens as many as are needed.
func (t *timer) openClocks(program *ebpf.Program) error {
	cpus := t.cpus
	if t.ticks != nil {
		cpus = cpus[:1]
	}
	for _, cpu := range cpus {
		if err := t.open(program, -1, cpu); err != nil {
			return fmt.Errorf("%w on CPU %d: %w", errClock, cpu, err)
		}
	}
	return nil
}

// unclocked gives the CPUs that have come online since.
func (t *timer) unclocked(online []int) []int {
	if t.ticks != nil {
		return nil
	}
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

// choice tells how the program is run.
func (t *timer) choice() Choice {
	if t.ticks != nil {
		return Choice{What: "CPU clocks", Uses: "the kernel's ticks"}
	}
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

// set switches the samples.
func (t *timer) set(on bool) error {
	if t.on == on {
		return nil
	}
	t.on = on
	if t.ticks == nil {
		return run(t.fds, on)
	}
	every := uint32(0)
	if on {
		every = uint32(t.period / tick())
	}
	if err := t.ticks.Set(every); err != nil || !t.slow {
		return err
	}
	return run(t.fds[:1], on)
}

// run has clocks run, or not.
func run(fds []int, on bool) error {
	request := uint(unix.PERF_EVENT_IOC_DISABLE)
	if on {
		request = unix.PERF_EVENT_IOC_ENABLE
	}
	var errs []error
	for _, fd := range fds {
		errs = append(errs, unix.IoctlSetInt(fd, request, 0))
	}
	return errors.Join(errs...)
}

// lookForSlow has slow requests looked for on an idle CPU too, or not; where clocks take the samples they always do that.
func (t *timer) lookForSlow(yes bool) error {
	if t.ticks == nil || t.slow == yes {
		return nil
	}
	t.slow = yes
	return run(t.fds[:1], yes && t.on)
}

// useTicks has the kernel's ticks take the samples if they can.
func (t *timer) useTicks(handler, ticks *ebpf.Variable) error {
	if t.period%tick() != 0 || !ticksAlways() {
		return nil
	}
	at, err := tickHandler()
	if err != nil || at == 0 {
		return err
	}
	if err := handler.Set(at); err != nil {
		return err
	}
	t.ticks = ticks
	return nil
}

// tick is how often the kernel's own timer interrupts a busy CPU: what the coarse clocks resolve (posix_get_coarse_res,
// kernel/time/posix-timers.c).
func tick() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &t)
	return time.Duration(t.Nano())
}

// ticksAlways tells whether every busy CPU has ticks: with nohz_full some have none.
func ticksAlways() bool {
	cpus, err := os.ReadFile("/sys/devices/system/cpu/nohz_full")
	without := strings.TrimSpace(string(cpus))
	return err != nil || without == "" || without == "(null)"
}

// tickHandler is the address of what the kernel calls at each tick, 0 if it is not told. Up to 6.8 tick_nohz_handler is
// something else, and the other always there (kernel/time/tick-sched.c).
func tickHandler() (address uint64, err error) {
	symbols, err := os.Open("/proc/kallsyms")
	if err != nil {
		return 0, err
	}
	defer symbols.Close()
	lines := bufio.NewScanner(symbols)
	for lines.Scan() {
		line := lines.Bytes()
		before := bytes.HasSuffix(line, []byte(" tick_sched_timer"))
		if !before && !bytes.HasSuffix(line, []byte(" tick_nohz_handler")) {
			continue
		}
		hex, _, _ := bytes.Cut(line, []byte(" "))
		if address, err = strconv.ParseUint(string(hex), 16, 64); err != nil || before {
			return address, err
		}
	}
	return address, lines.Err()
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
