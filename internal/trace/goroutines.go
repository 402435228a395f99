package trace

// goroutines are those of a Go process that were seen.
type goroutines struct {
	byID    map[uint64]*goLane
	offCPU  map[uint32]*goLane // by thread that left its CPU with it
	sweepAt int                // how many there may be before they are swept

	found []*goLane // by the look that goes on
	died  []*goLane // the same, and no longer in byID

	loops   bool   // some of them are event loops
	enters  uint8  // Goroutine.Enters of those that read and write
	period  uint64 // of the samples, 0: not known
	lapse   uint64 // for how long a goroutine that runs may go without a sample, 0: not known
	clocks  uint64 // since when samples are taken, which they are while requests are open and some time longer
	looked  uint64 // when they were looked at last
	lowered uint64 // when that was last done too rarely
	searches
}

func newGoroutines() goroutines {
	return goroutines{byID: map[uint64]*goLane{}, offCPU: map[uint32]*goLane{}, sweepAt: goroutinesMax}
}

// goroutine gives the lane of a goroutine, fresh if nothing was seen of it since the first request was read.
func (p *process) goroutine(id uint64) *goLane {
	g := p.byID[id]
	if g == nil {
		p.sweepGoroutines()
		g = &goLane{id: id, process: p, epoch: p.epoch, lane: lane{kind: goroutineLane, begun: true}}
		g.lane.of = g
		p.byID[id] = g
	}
	if g.epoch != p.epoch {
		g.forgetAll()
		g.epoch = p.epoch
	}
	return g
}

// goroutinesMax is how many goroutines a process may have before those that are of no request are dropped.
const goroutinesMax = 4096

// sweepGoroutines drops the goroutines that are not at work for an open request.
func (p *process) sweepGoroutines() {
	if len(p.byID) < p.sweepAt {
		return
	}
	for id, g := range p.byID {
		top := g
		for range generations {
			if top.open > 0 || top.parent == nil {
				break
			}
			top = top.parent.of
		}
		if top.open == 0 && !g.loop {
			delete(p.byID, id)
		}
	}
	p.sweepAt = max(goroutinesMax, 2*len(p.byID))
}
