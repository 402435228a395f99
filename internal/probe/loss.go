package probe

import "fmt"

// Losses counts what the kernel programs could not tell, by cause, since Open.
type Losses struct {
	Stacks    uint64 `json:"stacks"`    // ring buffer full: samples and switches
	IO        uint64 `json:"io"`        // ring buffer full: bytes of connections
	Other     uint64 `json:"other"`     // ring buffer full: wake-ups and their like
	Processes uint64 `json:"processes"` // ring buffer full: forks, execs, exits
	Conns     uint64 `json:"conns"`     // more connections than fit, or listening ports
	Requests  uint64 `json:"requests"`  // more open requests than fit
	Targets   uint64 `json:"targets"`   // more processes than fit
	Data      uint64 `json:"data"`      // bytes that could not be read from the target
	Skipped   uint64 `json:"skipped"`   // tracepoints whose program was at work on that CPU already; 5.12
}

// Losses reads the counters.
func (p *Probe) Losses() (l Losses, err error) {
	for cause, n := range map[apmLoss]*uint64{
		apmLossLOSS_RING_STACK:   &l.Stacks,
		apmLossLOSS_RING_IO:      &l.IO,
		apmLossLOSS_RING_OTHER:   &l.Other,
		apmLossLOSS_RING_PROCESS: &l.Processes,
		apmLossLOSS_CONNS:        &l.Conns,
		apmLossLOSS_REQUESTS:     &l.Requests,
		apmLossLOSS_TARGETS:      &l.Targets,
		apmLossLOSS_DATA:         &l.Data,
	} {
		if *n, err = p.lost(cause); err != nil {
			return l, err
		}
	}
	l.Conns += uint64(len(p.unheard))
	for _, hook := range p.hooks {
		stats, err := hook.Stats()
		if err != nil {
			return l, fmt.Errorf("read how often a program was skipped: %w", err)
		}
		l.Skipped += stats.RecursionMisses
	}
	return l, nil
}

// LostOfProcesses is Losses.Processes alone, which costs less to ask for now and then.
func (p *Probe) LostOfProcesses() (uint64, error) { return p.lost(apmLossLOSS_RING_PROCESS) }

func (p *Probe) lost(cause apmLoss) (n uint64, err error) {
	var perCPU []uint64
	if err := p.objects.Losses.Lookup(uint32(cause), &perCPU); err != nil {
		return 0, fmt.Errorf("read loss counters: %w", err)
	}
	for _, v := range perCPU {
		n += v
	}
	return n, nil
}
