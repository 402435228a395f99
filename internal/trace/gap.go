package trace

// gap is a stretch on a CPU by the stacks at both its ends, where both are known and at most one sample lies between.
type gap struct{ after, before *Context }

// known tells that the stacks at both ends are.
func (g gap) known() bool { return g.after != nil && g.before != nil }

// gaps shares time without samples by what samples of the same window showed between the same two stacks. A lane that
// waits again and again, and works for less than a sampling interval in between, has samples in few of these stretches.
// Were the others told by what their ends have in common, its work would be told of the function that waits.
type gaps struct {
	at   map[gap]int // in the list
	list []gapTime
}

// gapTime is what a lane did between the same two stacks.
type gapTime struct {
	untold  int64 // ns without a sample
	samples int64
	shown   []shown
}

// shown is a stack, with the samples that showed it.
type shown struct {
	stack   *Context
	samples int64
}

// learn takes a slice of the window.
func (g *gaps) learn(s *slice) {
	if s.stacks > 0 && s.gap.known() {
		g.of(s.gap).shows(s.stack, int64(s.stacks))
	}
}

// of gives what is known of a gap.
func (g *gaps) of(key gap) *gapTime {
	if i, ok := g.at[key]; ok {
		return &g.list[i]
	}
	if g.at == nil {
		g.at = map[gap]int{}
	}
	n := len(g.list)
	g.at[key] = n
	if n == cap(g.list) {
		g.list = append(g.list, gapTime{})
	} else { // with the memory of an earlier one
		g.list = g.list[:n+1]
		g.list[n] = gapTime{shown: g.list[n].shown[:0]}
	}
	return &g.list[n]
}

func (x *gapTime) shows(stack *Context, samples int64) {
	x.samples += samples
	for i := range x.shown {
		if x.shown[i].stack == stack {
			x.shown[i].samples += samples
			return
		}
	}
	x.shown = append(x.shown, shown{stack, samples})
}

// keep takes the time of a slice without a sample, to share it, if there is anything to share it by.
func (g *gaps) keep(s *slice, time int64) bool {
	if len(g.list) == 0 || s.stacks > 0 || !s.gap.known() {
		return false
	}
	i, ok := g.at[s.gap]
	if ok {
		g.list[i].untold += time
	}
	return ok
}

// share tells the time that was kept, and forgets all.
func (g *gaps) share(yield func(*slice, int64)) {
	if len(g.list) == 0 {
		return
	}
	for i := range g.list {
		x := &g.list[i]
		for _, s := range x.shown {
			time := x.untold * s.samples / x.samples
			x.untold, x.samples = x.untold-time, x.samples-s.samples
			if time > 0 {
				yield(&slice{stack: s.stack}, time)
			}
		}
	}
	clear(g.at)
	g.list = g.list[:0]
}
