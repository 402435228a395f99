// Package probe loads the kernel programs, attaches them and reads what they tell. It knows nothing of
// requests or names. Needs CAP_BPF and CAP_PERFMON, for which CAP_SYS_ADMIN stands too, and a kernel with BTF,
// 5.10 or later.
package probe

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"apm-ebpf/internal/capability"
)

// Config is what a Probe needs to know before it loads.
type Config struct {
	Frequency   int    // on-CPU stacks a second and CPU; 0: chosen by measurement
	SampleEvery uint32 // one of so many requests gets stacks; at least 1
	BTF         string // file with the kernel's BTF, where the kernel has none of its own
	Log         zerolog.Logger

	lacks lacks // what a test has this kernel lack
}

// Probe is the attached kernel half. Its methods are for one goroutine, except Wake.
type Probe struct {
	config   Config
	kernel   *kernel
	loader   *loader
	objects  apmObjects
	links    []link.Link
	hooks    []*ebpf.Program // of tracepoints that tell what no other does
	uprobes  map[attached][]link.Link
	closer   closer
	unheard  map[apmListener]bool // ports at which requests are missed
	lives    uint32               // address spaces added so far
	ring     *ringbuf.Reader
	reader   *reader
	slowRing *ringbuf.Reader
	wakeup   ringbuf.Record // of slowRing
	timer    *timer
	idle     bool
}

// Open loads and attaches the programs. Nothing is recorded before AddPython or AddGo. Errors tell what the user can do.
func Open(config Config) (*Probe, error) {
	if missing := capability.Missing(capability.BPF | capability.Perfmon); missing != 0 {
		return nil, fmt.Errorf("load BPF programs: %w: run as root or with %s", unix.EPERM, missing)
	}
	p := &Probe{config: config, uprobes: map[attached][]link.Link{}, unheard: map[apmListener]bool{}, closer: closer{log: config.Log}}
	if err := p.open(); err != nil {
		p.Close()
		return nil, explain(err)
	}
	return p, nil
}

func (p *Probe) open() error {
	if err := checkNamespaces(); err != nil {
		return err
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("%w: %w", errMemlock, err)
	}
	spec, err := loadApm()
	if err != nil {
		return fmt.Errorf("read built-in BPF object: %w", err)
	}
	types := btf.NewCache()
	if p.kernel, err = openKernel(&p.config, types); err != nil {
		return err
	}
	if err := p.kernel.fit(spec); err != nil {
		return err
	}
	if p.loader, err = newLoader(p.kernel, spec, types); err != nil {
		return fmt.Errorf("load BPF programs: %w", err)
	}
	var always []string
	for name, s := range spec.Programs {
		if s.Type != ebpf.Kprobe {
			always = append(always, name)
		}
	}
	if err := p.loader.load(always...); err != nil {
		return err
	}
	return p.attach(spec)
}

func (p *Probe) attach(spec *ebpf.CollectionSpec) (err error) {
	p.take()
	if p.ring, err = ringbuf.NewReader(p.objects.Events); err != nil {
		return fmt.Errorf("open ring buffer: %w", err)
	}
	p.reader = newReader(p.ring)
	if p.slowRing, err = ringbuf.NewReader(p.objects.SlowWakeups); err != nil {
		return fmt.Errorf("open ring buffer: %w", err)
	}
	frequency := p.config.Frequency
	if frequency == 0 {
		frequency = chooseFrequency(p.objects.Sample)
	}
	p.config.Log.Debug().Int("frequency", frequency).Dur("tick", tick()).Msg("sampling")
	if p.timer, err = newTimer(frequency, p.kernel.lacks.link); err != nil {
		return err
	}
	if !p.kernel.lacks.ticks {
		if err := p.timer.useTicks(p.objects.TickHandler, p.objects.TickSamples); err != nil {
			p.config.Log.Debug().Err(err).Msg("samples are not taken by the kernel's ticks")
		}
	}
	if err = p.timer.openClocks(p.objects.Sample); err != nil {
		return err
	}
	p.kernel.chose(p.timer.choice())
	for _, c := range p.kernel.choices {
		p.config.Log.Debug().Str("uses", c.Uses).Str("lacks", c.Lacks).Msg(c.What)
	}
	for name, s := range spec.Programs {
		if s.AttachTo == "" {
			continue
		}
		program := p.loader.programs[name].loaded
		l, err := attachHook(s, program)
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		p.links = append(p.links, l)
		if !slices.Contains(closings, name) {
			p.hooks = append(p.hooks, program)
		}
	}
	return nil
}

// closings both tell the end of a connection. Interrupts on behalf of a peer have one of them skipped now and then.
var closings = []string{"inet_sock_set_state", "tcp_destroy_sock"}

// take gives the probe at hand what it uses itself.
func (p *Probe) take() {
	maps, variables := p.loader.maps, p.loader.variables
	p.objects.Targets = maps["targets"]
	p.objects.Watched = maps["watched"]
	p.objects.Events = maps["events"]
	p.objects.SlowWakeups = maps["slow_wakeups"]
	p.objects.Losses = maps["losses"]
	p.objects.Listeners = maps["listeners"]
	p.objects.AgentIdle = maps["agent_idle"]
	p.objects.Conns = maps["conns"]
	p.objects.GoParents = maps["go_parents"]
	p.objects.GoServing = maps["go_serving"]
	p.objects.GoDepths = maps["go_depths"]
	p.objects.Slow = variables["slow"]
	p.objects.SlowWakes = variables["slow_wakes"]
	p.objects.TickHandler = variables["tick_handler"]
	p.objects.TickSamples = variables["tick_samples"]
	p.objects.Sample = p.loader.programs["sample"].loaded
	p.objects.EndRequest = p.loader.programs["end_request"].loaded
}

// Close detaches everything.
func (p *Probe) Close() error {
	if p.timer != nil {
		p.timer.close()
	}
	links := p.links
	for _, uprobes := range p.uprobes {
		links = append(links, uprobes...)
	}
	errs := []error{closeAll(links)}
	p.closer.wait()
	if p.ring != nil {
		errs = append(errs, p.ring.Close())
	}
	if p.slowRing != nil {
		errs = append(errs, p.slowRing.Close())
	}
	if p.loader != nil {
		p.loader.close()
	}
	return errors.Join(errs...)
}

// LoadAll loads the programs that nothing has needed yet.
func (p *Probe) LoadAll() error { return explain(p.loader.loadAll()) }

// LoadLater does the same beside the caller, so that what needs one later does not wait, while events do. What needs one
// meanwhile waits for that one alone. Services that are at work go first.
func (p *Probe) LoadLater() {
	p.loader.work.Go(func() {
		runtime.LockOSThread() // it ends with the goroutine
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, loadNice)
		begun := time.Now()
		if err := p.LoadAll(); err != nil {
			p.config.Log.Warn().Err(err).Msg("services that need this program are told of without it")
		}
		p.config.Log.Debug().TimeDiff("took", time.Now(), begun).Msg("all programs are loaded")
	})
}

// Frequency is the rate of on-CPU stacks, Hz.
func (p *Probe) Frequency() int { return int(time.Second / p.timer.period) }

// UnsampledCPUs gives the CPUs that have no clock: they came online after the others were given theirs.
func (p *Probe) UnsampledCPUs() ([]int, error) {
	online, err := parseCPUs(onlineCPUs)
	if err != nil {
		return nil, err
	}
	return p.timer.unclocked(online), nil
}

// SetSampling switches the on-CPU clocks: while no sampled request is open they only cost. The kernel
// programs wake Poll for the next request while they are off.
func (p *Probe) SetSampling(on bool) error {
	if err := p.timer.set(on); err != nil {
		return fmt.Errorf("switch CPU clocks: %w", err)
	}
	idle := uint32(1)
	if on {
		idle = 0
	} else if err := p.objects.Slow.Set(apmSlowRequests{Since: Now()}); err != nil { // none is open; the count may have gone astray
		return fmt.Errorf("tell the kernel programs: %w", err)
	}
	p.idle = !on
	if err := p.objects.AgentIdle.Put(uint32(0), idle); err != nil {
		return fmt.Errorf("tell the kernel programs: %w", err)
	}
	return nil
}

// Idle tells that sampling is off.
func (p *Probe) Idle() bool { return p.idle }

// Poll hands the events that have arrived to handle, in order of time, the latest 10 ms excepted, after each was shown
// to arrived at once, in whatever order; in between it calls act. With sampling off it waits for the first one until wait
// is over; with sampling on it does not wait.
func (p *Probe) Poll(wait time.Duration, arrived func(*Event), act func(), handle func(*Event)) error {
	if !p.idle {
		wait = 0
	}
	return p.reader.poll(wait, false, arrived, act, handle)
}

// Holds tells how many events have arrived that were not handed out yet.
func (p *Probe) Holds() int { return len(p.reader.batch) }

// Drain hands out every event that has arrived.
func (p *Probe) Drain(handle func(*Event)) error {
	return p.reader.poll(0, true, func(*Event) {}, func() {}, handle)
}

// SlowWakes tells when a slow request of Go ends AwaitSlow.
type SlowWakes = apmSlowWake

// What wakes the agent for slow requests.
const (
	AnySlow     = apmSlowWakeSLOW_WAKES
	SlowAndIdle = apmSlowWakeSLOW_WAKES_IDLE // where a CPU has nothing to do
	NoSlow      = apmSlowWakeSLOW_WAKES_NOT
)

// AwaitSlow waits for so long at most, or until Wake, and tells whether a request of Go has been open for half a
// millisecond to one. From then on none ends the wait, until SetSlowWakes says so. It waits in the caller's thread:
// another one might have no CPU.
func (p *Probe) AwaitSlow(wait time.Duration) bool {
	p.slowRing.SetDeadline(time.Now().Add(wait))
	return p.slowRing.ReadInto(&p.wakeup) == nil
}

// SetSlowWakes tells the kernel programs which slow requests are to end AwaitSlow.
func (p *Probe) SetSlowWakes(which SlowWakes) error {
	if err := p.objects.SlowWakes.Set(uint32(which)); err != nil {
		return fmt.Errorf("tell the kernel programs: %w", err)
	}
	return nil
}

// LookForSlow has slow requests of Go be noticed while all CPUs are idle too. When another begins they always are.
func (p *Probe) LookForSlow(yes bool) error {
	if err := p.timer.lookForSlow(yes); err != nil {
		return fmt.Errorf("switch CPU clocks: %w", err)
	}
	return nil
}

// Wake ends a waiting Poll or AwaitSlow. Safe from any goroutine.
func (p *Probe) Wake() {
	p.ring.Flush()
	p.slowRing.Flush()
}

// EndRequest tells the kernel programs that a sampled request is over though its connection stays.
func (p *Probe) EndRequest(connection, request uint64) error {
	_, err := p.objects.EndRequest.Run(&ebpf.RunOptions{Context: [2]uint64{connection, request}})
	if err != nil {
		return fmt.Errorf("end request: %w", err)
	}
	return nil
}

// Forget drops a connection that ended without the kernel's telling, with the request that is open on it: Unix sockets do.
// Another one may have its name by now, but not its inode.
func (p *Probe) Forget(connection, inode uint64) error {
	var c apmConn
	err := p.objects.Conns.Lookup(connection, &c)
	if err == nil && c.Inode == inode {
		if err := p.EndRequest(connection, c.Request); err != nil {
			return err
		}
		err = p.objects.Conns.Delete(connection)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget connection: %w", err)
	}
	return nil
}
