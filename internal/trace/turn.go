package trace

import "slices"

// turn is a time for which a thread that serves several connections by itself was at work for one of them: from a
// transfer on it to the next one on another.
type turn struct {
	by       *thread
	from, to uint64   // to is 0 while it lasts
	asked    *Request // for which it was called; nil: transfers tell
}

// is tells a thread's turn that its transfers tell.
func (u *turn) is(t *thread) bool { return u.by == t && u.asked == nil }

// transfers takes that the thread reads or writes on a connection.
func (t *thread) transfers(c *conn, now uint64) {
	if t.tasks || t.greenlets {
		return
	}
	if len(c.requests) == 0 {
		c.turns = c.turns[:0]
	}
	if t.turn == c && slices.ContainsFunc(c.turns, func(turn turn) bool { return turn.is(t) && turn.to == 0 }) {
		return // another thread may have had it meanwhile
	}
	t.endTurn(now)
	t.turn = c
	c.turns = bounded(append(c.turns, turn{by: t, from: now}))
}

func (t *thread) endTurn(now uint64) {
	if t.turn == nil {
		return
	}
	for i := range t.turn.turns {
		if turn := &t.turn.turns[i]; turn.is(t) && turn.to == 0 {
			turn.to = now
		}
	}
}

// answersTried is how many answers of a thread are looked at before it is taken for one that does not run handlers below
// the call that answers.
const answersTried = 200

// looksForLoop tells that it is not known yet whether the thread does that.
func (t *thread) looksForLoop() bool { return t.serves && !t.loopRuns && t.tried < answersTried }

// calls notes where the functions of a stack stood. One that only shows the thread back in a call leaves what lay below it.
func (t *thread) calls(s *Stack, stack *Context) {
	if t.returned(s) {
		return
	}
	t.instrs, t.deeper = t.instrs[:0], stack
	for i := range s.Frames {
		t.instrs = append(t.instrs, s.Frames[i].Instr)
	}
}

// beginsAnswer takes the stack with which the thread begins an answer. Where what it ran before lay below the very same
// call, that has called it: servers in C write answers and run handlers from their event loops.
func (t *thread) beginsAnswer(s *Stack) {
	if !t.looksForLoop() || t.lane != &t.home || len(s.Frames) == 0 {
		return
	}
	t.tried++
	t.loopRuns = t.returned(s)
}

// returned tells that what the thread ran before lay below the very call in which the stack is.
func (t *thread) returned(s *Stack) bool {
	n := len(s.Frames)
	if n == 0 || len(t.instrs) <= n || s.Frames[n-1].Instr == 0 || s.Frames[n-1].Instr != t.instrs[n-1] {
		return false
	}
	return t.deeper.upTo(int32(n)) == t.process.contexts.path(s.Frames)
}

// trunks appends the branches that lie under a request's window: its lane's for as long as that was at work for it.
func (r *Request) trunks(all []branch, at int32, from uint64) []branch {
	if !r.inTurns {
		return append(all, branch{lane: r.trunk(), at: at, from: from, to: r.handled(), end: r.End, cut: r.wasCut()})
	}
	for _, turn := range r.conn.turns {
		to := r.End
		if turn.to != 0 {
			to = min(turn.to, to)
		}
		ours := &turn.by.home == r.lane && turn.is(turn.by)
		if r.called != nil {
			ours = turn.asked == r
		}
		if begin := max(turn.from, from); ours && begin < to {
			all = append(all, branch{lane: &turn.by.home, at: at, from: begin, to: to, end: r.End})
		}
	}
	return all
}

// interrupted tells that the thread was at work for other connections too while it was for the request.
func (r *Request) interrupted(t *thread) bool {
	to := r.handled()
	return slices.ContainsFunc(r.conn.turns, func(turn turn) bool {
		return turn.is(t) && turn.to > r.Start && turn.to < to
	})
}

// turnsTo takes that the thread has begun an answer whose head another read. If it has not rested since the one before,
// which others may still be writing, nothing tells when it went on from that to this.
func (t *thread) turnsTo(r *Request) {
	if r.lane != &t.home || r.reader == t || t.tasks || t.greenlets {
		return
	}
	if t.home.answered == 0 && r.reader != nil && !t.wasFree(r.reader) { // it may have been at work for one that was read before the agent came
		r.shared = true
	}
	for _, before := range t.answering {
		if before.left == 0 {
			before.shared, r.shared = true, true
			before.left = r.FirstWrite
		}
	}
	if t.home.left > r.Start && t.home.left > t.home.answered {
		r.begun = t.home.left
	}
	t.answering = append(t.answering, r)
}

// wasFree tells that the thread was seen to wait for work, or to be given some by the one that reads requests.
func (t *thread) wasFree(reader *thread) bool {
	return t.home.left != 0 || slices.ContainsFunc(t.home.grants, func(g grant) bool { return g.giver == &reader.home })
}

// endsAnswer takes that a request has ended, whose answer a thread may have begun whether that is its own or not.
func (p *process) endsAnswer(r *Request) {
	t := p.threads[r.TID]
	if t == nil || !slices.Contains(t.answering, r) {
		return
	}
	t.answering = without(t.answering, r)
	t.home.answered = max(t.home.answered, r.ownEnd(&t.home))
}

// leaves takes that the thread has done with what it answers: it waits for work again.
func (t *thread) leaves(now uint64) {
	for _, r := range t.answering {
		if r.left == 0 {
			r.left = now
		}
	}
	t.home.left = now
}
