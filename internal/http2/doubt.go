package http2

// After writes were lost it is in doubt of every open request whether its answer has ended, until more of the answer
// is seen. One that had begun and is silent for silentAnswer has most likely ended with what was lost; one that was
// not seen to begin may as well be slow.
const (
	silentAnswer = 1e9 // ns
	noAnswer     = 60e9
)

// doubt is about requests whose answers may have passed unseen.
type doubt struct {
	latest uint64 // loss of writes, 0: none
	next   uint64 // when to look for requests to give up, 0: never
	given  uint64 // loss since when every request in doubt was given up, 0: none
	missed bool   // a loss has just been told
}

// begin takes that writes were lost.
func (d *doubt) begin(ts uint64) {
	d.latest = ts
	if d.next == 0 {
		d.next = ts + silentAnswer
	}
}

// about tells whether the end of the answer may have been lost.
func (d *doubt) about(s stream) bool { return s.seen <= d.latest }

// examine gives up requests when it is time to.
func (c *Conn) examine(ts uint64) {
	d := &c.doubt
	if d.missed {
		d.missed = false
		d.begin(ts - 1)
	}
	if d.next == 0 || ts < d.next {
		return
	}
	d.next = 0
	for _, id := range c.sorted(0) {
		s := c.streams[id]
		patience := uint64(silentAnswer)
		if s.req.FirstWrite == 0 {
			patience = noAnswer
		}
		switch {
		case !d.about(s):
		case ts >= s.seen+patience:
			c.giveUp(id, s)
		default:
			d.next = ts + silentAnswer
		}
	}
}

// makeRoom sees to it that another request may be open, if it can.
func (c *Conn) makeRoom() bool {
	if len(c.streams) < maxOpen || c.doubt.given == c.doubt.latest {
		return len(c.streams) < maxOpen
	}
	c.doubt.given = c.doubt.latest
	for _, id := range c.sorted(0) {
		if s := c.streams[id]; c.doubt.about(s) {
			c.giveUp(id, s)
		}
	}
	return len(c.streams) < maxOpen
}

// giveUp ends a request whose answer has most likely ended unseen.
func (c *Conn) giveUp(id uint32, s stream) {
	end := s.seen
	if s.req.FirstWrite == 0 {
		end = c.doubt.latest
	}
	c.finish(id, s, end)
}
