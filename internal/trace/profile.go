package trace

import (
	"slices"
	"sort"

	"apm-ebpf/internal/filter"
)

// Profile is what was done for a sampled request in its window.
type Profile struct {
	CPU       int64           // ns on a CPU, branches included
	Stacks    int             // that the tree was built from
	Waits     Waits           // of the request's own lane
	Truncated bool            // frames are missing in the middle of a deep stack
	Frames    []*filter.Frame // every frame after its callees, the root last
}

// branch is a lane that did something for the request, and where its frames hang.
type branch struct {
	lane     *lane
	at       int32 // node of the tree
	from, to uint64
	end      uint64 // of the request: what was started may go on until then
	cut      bool   // the request was cut short
	work     uint64 // only slices with this Context; 0: all
	item     uint64 // only slices with this job; 0: all
	taken    uint64 // when the job was taken: until then it waited
}

// has tells whether what was done with a Context and a job in force is the branch's.
func (br *branch) has(work, item uint64) bool {
	return (br.work == 0 || work == br.work && item == 0) && (br.item == 0 || item == br.item)
}

// branchLimit bounds the lanes that are joined to one request.
const branchLimit = 1000

// Profile builds the tree of a sampled request. Only for use while it is being handed out: the next call reuses it.
func (t *Tracer) Profile(r *Request) *Profile {
	b, p := &t.builder, &t.profile
	b.reset()
	b.answers = r.lane
	*p = Profile{}
	p.own(b, r)
	p.Frames = b.frames()
	return p
}

// own lays the slices of the request's own lane end to end over the window, and hangs below them what
// other lanes did. What lies before the lane was free is a wait for it, and a gap is time in which nothing
// was seen of it.
func (p *Profile) own(b *builder, r *Request) {
	l := r.lane
	if l == nil {
		p.addOwn(b, &slice{why: NotSampled}, 0, r.Duration())
		return
	}
	l = r.trunk()
	b.trunk = l
	from := max(r.Start, r.PrevEnd, r.begun, r.free)
	if !r.inTurns && (r.begun == 0 || l.kind == threadLane) {
		from = max(from, min(l.answered, r.End))
	}
	if r.called != nil || r.loop != nil || r.isStream() && l.kind == taskLane {
		from = max(from, l.born)
	}
	from = min(from, r.End)
	untold, told := int64(r.End-from), int64(0)
	r.ranUnseen(l.below)
	trunks := r.trunks(b.trunks[:0], b.node(0, l.below), from)
	b.trunks = trunks[:0]
	p.addOwn(b, &slice{why: RunQueue}, 0, r.Duration()-untold)
	for i := range trunks {
		trunks[i].slices(&b.gaps, func(s *slice, time int64) {
			p.addOwn(b, s, trunks[i].at, time)
			told += time
			r.ranUnseen(s.stack)
		})
	}
	if r.inTurns { // between its turns it waits for the thread
		waits := untold
		for _, turn := range trunks {
			waits -= int64(turn.to - turn.from)
		}
		p.addOwn(b, &slice{why: RunQueue}, 0, waits)
		untold -= waits
	}
	if handled := max(r.handled(), from); handled < r.End {
		p.addOwn(b, &slice{why: Blocked}, 0, int64(r.End-handled))
		untold -= int64(r.End - handled)
	}
	p.addOwn(b, &slice{why: NotSampled}, 0, untold-told)
	p.branches(b, r, trunks)
}

// branches follows the lanes that the trunks, which are parts of one lane, started or gave work to, and theirs.
func (p *Profile) branches(b *builder, r *Request, trunks []branch) {
	if len(trunks) == 1 && !r.process.gave(&trunks[0]) {
		r.tells(trunks[0].lane)
		return
	}
	todo, seen := trunks, map[*lane]bool{}
	for _, trunk := range trunks {
		seen[trunk.lane] = true
	}
	for i := 0; i < len(todo) && i < branchLimit; i++ {
		for _, next := range b.branchesOf(r.process, &todo[i], seen) {
			todo = append(todo, next)
			next.slices(&b.gaps, func(s *slice, time int64) { p.add(b, s, next.at, time) })
		}
	}
	for l := range seen {
		r.tells(l)
	}
}

// gave tells whether a lane may have started others or given them work. Goroutines start others, and give no work.
func (p *process) gave(br *branch) bool {
	l := br.lane
	return len(l.kids)+len(l.works)+len(l.jobs) > 0 || l.of == nil && p.granted >= br.from
}

// tells takes that what the lane did is in the request's tree.
func (r *Request) tells(l *lane) {
	r.Undecided = r.Undecided || r.callsUntold || r.process.queues.missedFor(r) || l.unsure >= r.Start && l.unsure <= r.End
	l.handedOut(r)
}

// handedOut takes that a request was told with what the lane did. A task or greenlet that was made for it is of no other, but
// for those of executors.
func (l *lane) handedOut(r *Request) {
	if l.kind == threadLane || l.born < r.Start || l.started.startsWorker() {
		return
	}
	l.claimed = true
	if l.ended {
		l.drop()
	}
}

// slices tells the lane's slices in the branch's window, and what it waits for at its end.
func (br *branch) slices(g *gaps, yield func(*slice, int64)) {
	part := br.work != 0 || br.item != 0
	br.done(part, func(s *slice, _ int64) { g.learn(s) })
	br.done(part, func(s *slice, time int64) {
		if !g.keep(s, time) {
			yield(s, time)
		}
	})
	g.share(yield)
	if br.taken > br.from {
		wait := slice{from: br.from, to: br.taken, time: br.taken - br.from, why: RunQueue}
		yield(&wait, int64(wait.within(br.from, br.to)))
	}
	pending := br.lane.blocked(br.to)
	if part {
		pending = slices.DeleteFunc(pending, func(s slice) bool {
			return !br.has(s.work, s.item) || s.from < max(br.from, br.taken)
		})
	}
	switch l := br.lane; {
	case part:
	case l.suspended != 0:
		at := l.mayWaitAt(br.cut)
		pending = []slice{
			{from: l.untold, to: l.suspended, stack: at},
			{from: l.suspended, to: br.to, stack: at, why: Await, stacks: 1},
		}
	case l.born != 0 && !l.begun && !l.ended:
		pending = []slice{{from: l.born, to: br.to, why: RunQueue}}
	}
	for i := range pending {
		s := &pending[i]
		s.time = s.to - min(s.from, s.to)
		if time := int64(s.within(br.from, br.to)); time > 0 {
			yield(s, time)
		}
	}
}

// done tells the lane's slices in the branch's window as they are. part: only those of its work, of which a thread of a pool
// may have done much else before.
func (br *branch) done(part bool, yield func(*slice, int64)) {
	told := br.lane.slices
	if part {
		begun := max(br.from, br.taken)
		told = told[sort.Search(len(told), func(i int) bool { return told[i].from >= begun }):]
	}
	for i := range told {
		s := &told[i]
		if part && !br.has(s.work, s.item) {
			continue
		}
		if time := int64(s.within(br.from, br.to)); time > 0 {
			yield(s, time)
		}
	}
}

func (p *Profile) addOwn(b *builder, s *slice, at int32, time int64) {
	if time > 0 {
		p.Waits[s.why] += time
		p.add(b, s, at, time)
	}
}

func (p *Profile) add(b *builder, s *slice, at int32, time int64) {
	p.Stacks += int(s.stacks)
	if s.why == OnCPU || s.why == Unknown {
		p.CPU += time
	}
	p.Truncated = p.Truncated || s.stack != nil && s.stack.truncated
	b.add(s, at, time)
}
