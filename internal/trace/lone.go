package trace

// granianFile is where granian has an event loop make tasks.
const granianFile = "/granian/_futures.py"

// onlyTask gives the task in which the application was called for a request that no other was open beside, where a thread
// that is none of Python's writes the answer (Robyn, granian's RSGI): the only one which an event loop was given to make
// meanwhile, by none of the application's functions. nil: there is none, or there are several.
func (r *Request) onlyTask(writer *thread) (only *lane) {
	if writer.foreign == 0 || writer.foreign != r.FirstWrite || r.process.wasCrowded(r.Start) {
		return nil
	}
	for _, t := range r.process.threads {
		for l := range t.home.tasksCalled {
			if l.born < r.Start || l.born > r.FirstWrite || !l.madeByLoop() {
				continue
			}
			if only != nil {
				return nil
			}
			only = l
		}
	}
	return only
}

// tasksCalled gives the tasks that what an event loop called on the lane's thread has made.
func (l *lane) tasksCalled(yield func(*lane) bool) {
	for _, kid := range l.kids {
		if kid.kind == callbackLane {
			kid.tasksCalled(yield)
		} else if kid.kind == taskLane && !yield(kid) {
			return
		}
	}
}

// madeByLoop tells that none but the event loop's functions, and the server's, were at work when the task was made.
func (l *lane) madeByLoop() bool {
	if l.on == nil || l.on.callsTasks == nil || l.future != 0 || l.bridged {
		return false
	}
	c := l.started
	for c != nil && c != l.on.callsTasks && (loops(c.fn) || c.fn.InFile(granianFile)) {
		c = c.parent
	}
	return c == l.on.callsTasks
}
