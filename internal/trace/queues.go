package trace

import (
	"math"

	"apm-ebpf/internal/symbol"
)

// queues is what is known of the objects that a process puts into queues. Each costs it a trap or two, which is spared where
// none has to do with a request: servers hand connections to their threads so.
type queues struct {
	puts     int                      // objects in a row that were put for no request
	answered int                      // requests that were answered meanwhile
	patience int                      // after how many of both they need not be told
	seen     uint64                   // from when on they are told; MaxUint64: they are not
	missed   uint64                   // when a request first seemed to have some put that was not told, 0: never
	asked    bool                     // that was given by MissedQueues
	own      map[symbol.Func]struct{} // executors' jobs of threads that serve requests
}

const (
	idleMin = 1000
	ownMax  = 64
)

// IdleQueues gives the processes that have put many objects in a row into queues for no request, and which of their threads
// serve requests. Where there are no others that could take a request's objects these need not be told until MissedQueues
// gives the process: neglect tells whether they are not.
func (t *Tracer) IdleQueues(neglect func(pid uint32, serves func(tid int) bool) bool) {
	for pid, p := range t.processes {
		q := &p.queues
		if q.seen == math.MaxUint64 || min(q.puts, q.answered) < q.patience {
			continue
		}
		q.puts, q.answered = 0, 0
		serves := func(tid int) bool {
			th := p.threads[uint32(tid)]
			return th != nil && th.servesItself()
		}
		if neglect(pid, serves) {
			q.seen, q.missed, q.asked = math.MaxUint64, 0, false
		}
	}
}

// MissedQueues gives the processes, once each, that IdleQueues gave and that seem to hand work of requests to other threads.
func (t *Tracer) MissedQueues(yield func(pid uint32)) {
	for pid, p := range t.processes {
		if q := &p.queues; q.missed != 0 && q.seen == math.MaxUint64 && !q.asked {
			q.asked = true
			yield(pid)
		}
	}
}

// SeesQueues takes that the objects which a process puts into queues are told from now on.
func (t *Tracer) SeesQueues(pid uint32, now uint64) {
	if p := t.processes[pid]; p != nil {
		const longer = 8
		p.queues.seen = now
		p.queues.patience *= longer
	}
}

// handsOut takes that a request seems to have work handed to another thread.
func (q *queues) handsOut(now uint64) {
	q.puts, q.answered = 0, 0
	if q.seen == math.MaxUint64 && q.missed == 0 {
		q.missed = now
	}
}

// missedFor tells that a request may have had objects put that were not told.
func (q *queues) missedFor(r *Request) bool {
	return q.missed != 0 && r.End >= q.missed && r.Start < q.seen
}

// does takes that a thread is seen to do an executor's job. Those of the server's own threads serve requests.
func (q *queues) does(job *symbol.Func, serves bool, now uint64) {
	_, own := q.own[*job]
	switch {
	case !serves && !own:
		q.handsOut(now)
	case serves && !own:
		if q.own == nil || len(q.own) >= ownMax {
			q.own = map[symbol.Func]struct{}{}
		}
		q.own[*job] = struct{}{}
	}
}

// handsOut takes that the thread has work done by another, and tells whether it may be a request's.
func (t *thread) handsOut(now uint64) bool {
	if !t.mayWorkForRequest() {
		return false
	}
	t.process.queues.handsOut(now)
	return true
}

// mayWorkForRequest tells that what the thread hands out may be a request's.
func (t *thread) mayWorkForRequest() bool {
	switch {
	case t.lane != &t.home || t.tasks || t.greenlets || t.process.serves(t.tid):
		return true
	case t.servesItself():
		return false
	}
	return t.home.held != nil && !t.home.held.idle || t.home.openGrant() != nil
}
