package trace

// job is what a lane handed to an executor: the _WorkItem that ThreadPoolExecutor.submit puts into its queue and that
// the thread which takes it runs.
type job struct {
	item  uint64 // its address
	from  uint64 // when it was put
	to    uint64 // when another was put that has the address, 0: not yet
	taken uint64 // when a thread was seen to run it, 0: not yet
	by    *lane  // that thread's
	stack *Context
	work  uint64 // Context and job of the lane that put it
	outer uint64
}

// puts takes that the lane puts an object into a queue.
func (p *process) puts(l *lane, j *job) {
	if before := p.jobs[j.item]; before != nil {
		before.to = j.from
	}
	if len(p.jobs) >= lanesMax {
		clear(p.jobs)
	}
	p.jobs[j.item] = j
	l.jobs = bounded(append(l.jobs, j))
}

// runs takes which job the thread was seen to run, 0 for none.
func (t *thread) runs(item uint64) {
	t.item = item
	if item == 0 {
		return
	}
	t.process.seesJobs = true
	if j := t.process.jobs[item]; j != nil && j.taken == 0 {
		j.taken, j.by = max(t.since, j.from), &t.home
	}
}
