package trace

// given takes work for a thread that waits for some. One that waits elsewhere than where it got its last
// work is in the midst of it: what woke it is a lock.
func (t *thread) given(g grant) {
	if t.state != waiting || !t.onFutex || t.tasks {
		return
	}
	if n := len(t.home.grants); n > 0 && t.home.grants[n-1].to == 0 {
		if t.idleAt != nil && t.idleAt != t.stack {
			return
		}
		t.home.grants[n-1].to = g.from
	}
	t.idleAt = t.stack
	t.home.grants = append(t.home.grants, g)
}

// rests ends the work of a thread that is back where it waited for it.
func (t *thread) rests(now uint64) {
	n := len(t.home.grants)
	if n > 0 && t.onFutex && t.idleAt != nil && t.home.grants[n-1].to == 0 && t.idleAt == t.stack {
		t.home.grants[n-1].to = now
	}
}
