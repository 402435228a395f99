package trace

import (
	"net/url"
	"strings"
)

// Scope is what a server tells an application of the request that it calls it for: WSGI's environ, ASGI's scope.
type Scope struct {
	Coroutine uint64 // of the task that was made for the call; 0: a thread's stack shows it
	Port      uint16 // the client's; 0: not told
	Path      string // decoded
	Query     string // as sent
	HasQuery  bool
}

// isOf tells whether the scope may be that of the request.
func (s *Scope) isOf(r *Request) bool {
	if s.Port != 0 && s.Port != r.conn.remote.Port() {
		return false
	}
	path, query, _ := strings.Cut(originForm(r.Target), "?")
	if s.HasQuery && s.Query != query {
		return false
	}
	if path == s.Path {
		return true
	}
	path, err := url.PathUnescape(path)
	return err == nil && (path == s.Path || path == latin1(s.Path))
}

// originForm leaves the scheme and the host out of a target.
func originForm(target string) string {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || strings.ContainsAny(scheme, "/?") {
		return target
	}
	if at := strings.IndexAny(rest, "/?"); at >= 0 && rest[at] == '/' {
		return rest[at:]
	}
	return "/"
}

// latin1 gives the bytes that a text stands for in WSGI, where each is a character; empty if it is no such text.
func latin1(text string) string {
	var out strings.Builder
	for _, c := range text {
		if c > 0xff {
			return ""
		}
		out.WriteByte(byte(c))
	}
	return out.String()
}

// asked gives the request that is open and has that scope; nil where none or several may.
func (p *process) asked(s *Scope) (found *Request, several bool) {
	for _, c := range p.open {
		for _, r := range c.requests {
			switch {
			case !r.Sampled || !s.isOf(r):
			case found != nil:
				return nil, true
			default:
				found = r
			}
			if !c.framed {
				break // the next is served when this one has its answer
			}
		}
	}
	return found, false
}

// calls takes that a server has called the application for a request: in a task that no other has made but the
// connection's, which was there before, or on a thread.
func (r *Request) calls(l *lane) {
	if r.called == nil && (l.parent == nil || l.parent.kind != taskLane || l.parent.answered == 0 && l.parent.born < r.Start) {
		r.called = l
	}
}

// doubts takes that the stack to come was called for a request, nil where none is known, or for one of several. What was done
// in a call while nothing told for which is in no tree.
func (t *thread) doubts(s *Scope, r *Request, several bool) {
	if r != nil && t.doubt {
		r.partly = true
	}
	if a := t.asked; several && a != nil && s.isOf(a) {
		a.partly = true
	}
	t.doubt = several
}

// worksFor takes for which request the stack that is seen now was called; it has been told if it is one that is open.
// leaves: the thread leaves its CPU with it.
func (t *thread) worksFor(now uint64, s *Stack, leaves bool) {
	var r *Request
	if t.scoped == now {
		r = t.scope
	}
	if r == t.asked || s.Broken {
		t.outside = t.outside && s.Broken || r == nil && len(s.Frames) == 0
		return
	}
	if t.state == waiting { // its return to the CPU was not seen
		t.resume(now)
	}
	at := max(t.since, t.seen)
	switch {
	case r == nil && leaves, t.state == unseen:
		at = now
	case !t.outside || t.seen != 0:
		at = t.midway(now)
	}
	if t.lane == &t.home { // it did what came before until then
		t.settle(at)
		t.stack, t.seen = nil, 0
	}
	t.endCall(at)
	if t.asked, t.outside = r, r == nil && len(s.Frames) == 0; r != nil {
		t.home.on = t
		r.calls(&t.home)
		r.conn.turns = bounded(append(r.conn.turns, turn{by: t, from: at, asked: r}))
	}
}

// endCall takes that the thread has done what it was called for.
func (t *thread) endCall(now uint64) {
	if t.asked == nil || t.asked.conn == nil {
		return
	}
	turns := t.asked.conn.turns
	for i := range turns {
		if turn := &turns[i]; turn.by == t && turn.asked == t.asked && turn.to == 0 {
			turn.to = now
		}
	}
}
