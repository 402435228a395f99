package goroutine

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// shortest is the period at which goroutines are looked at where that costs little. Times are then right to half a
	// millisecond; up to precise they are right to a millisecond or so.
	shortest = time.Millisecond
	precise  = 3 * time.Millisecond
	// lookShare is what looks may take of a CPU for many requests at once, for fewer the more, up to fewShare; walkShare and
	// fewWalkShare are that of the search for new goroutines.
	lookShare    = 0.025
	fewShare     = 0.1
	many         = 1000
	walkShare    = 0.01
	fewWalkShare = 0.04
	// walkCredit is what searches may take at once, after some time without any: what handlers start soon ends soon too.
	walkCredit = 5 * time.Millisecond
	// walkDebt is the most that an uncommon search, as of many that have just begun, may keep later ones waiting for.
	walkDebt = time.Millisecond
)

// pace keeps the cost of looks within a share of a CPU.
type pace struct {
	began, walked time.Duration // CPU time of the thread
	look, walk    time.Duration // what one costs, smoothed
	credit        time.Duration // CPU time that searches may still take
	counted       uint64        // up to when credit was given
	searched      uint64        // when the last search began
}

func (p *pace) begin() {
	runtime.LockOSThread()
	p.began, p.walked = ThreadTime(), 0
}

func (p *pace) end() {
	p.look = Smooth(p.look, ThreadTime()-p.began-p.walked)
	runtime.UnlockOSThread()
}

// walks runs a search for new goroutines if one is due. requests is how many are looked at.
func (p *pace) walks(requests int, search func() error) error {
	now := monotonic()
	earned := float64(now-p.counted) * share(walkShare, fewWalkShare, requests)
	p.credit = time.Duration(min(float64(p.credit)+earned, float64(walkCredit)))
	p.counted = now
	if p.credit <= 0 {
		return nil
	}
	p.searched = now
	began := ThreadTime()
	err := search()
	p.walked = ThreadTime() - began
	p.walk = Smooth(p.walk, p.walked)
	p.credit = max(p.credit-p.walked, -max(walkDebt, 2*p.walk))
	return err
}

// share is what something may take of a CPU for so many requests.
func share(ofMany, ofFew float64, requests int) float64 {
	return min(ofFew, ofMany*many/float64(max(min(requests, many), 1)))
}

// Smooth has an average follow a measurement. One that is far above counts little: memory was touched for the first time.
func Smooth(average, now time.Duration) time.Duration {
	const little = 200 * time.Microsecond
	return average + (min(now, 8*average+little)-average)/8
}

// Period tells when to look next, after the last look, and whether times are less precise than they could be: that is
// late, or there are more goroutines than are looked at. wake is what it costs to have a CPU again for a look.
func (r *Reader) Period(wake time.Duration) (period time.Duration, lowered bool) {
	period = max(shortest, time.Duration(float64(r.pace.look+wake)/share(lookShare, fewShare, r.roots)))
	return period, period > precise || len(r.watched) >= watchedMax
}

// ThreadTime is the CPU time that the calling thread has had.
func ThreadTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}
