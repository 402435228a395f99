package e2e

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sensible is every name that may be told of a function of these services.
var sensible = regexp.MustCompile(`^[\w.<>\[\] ]{1,100}$`)

// TestCorrupt profiles a process whose memory is wrong while its stacks are taken: frames in a circle, frames and code
// objects that are nonsense, a name of a gigabyte. Nothing of that may be printed, and what comes after is right again.
func TestCorrupt(t *testing.T) {
	pythons := prepared(t).pythons
	i := slices.IndexFunc(pythons, func(p Python) bool { return p.Minor >= 13 && !strings.HasSuffix(p.Version, "t") })
	if i < 0 {
		t.Skip("no CPython 3.13 or later here: where the others keep their frames the service does not know")
	}
	s := gunicorn(t, pythons[i], "corrupt")
	a := attach(t, s.PID)
	kinds := []string{"loop", "nowhere", "nonsense", "kernel", "code", "object", "thread", "name", "length", "fine"}
	for _, kind := range kinds {
		if answer := s.get(t, "/"+kind); answer.Text != "done" {
			t.Fatal(kind, answer.Status, answer.Text)
		}
	}
	for _, r := range a.exactly(t, len(kinds)) {
		checkSums(t, r)
		frames, _ := r.frames(t)
		for _, f := range frames {
			if !sensible.MatchString(f.Function) {
				t.Errorf("%s: a function is called %.100q", r.Endpoint, f.Function)
			}
			if !f.bracketed() && !filepath.IsAbs(f.File) && f.File != "made.py" && !strings.HasPrefix(f.File, "<") {
				t.Errorf("%s: a file is called %.100q", r.Endpoint, f.File)
			}
		}
		if len(frames) > 1000 {
			t.Errorf("%s: %d frames", r.Endpoint, len(frames))
		}
		// A stack that leads nowhere is not used at all.
		whole := slices.Contains([]string{"/loop", "/code", "/object", "/name", "/length"}, r.Endpoint)
		if hold := r.tree(t).find("hold"); whole && hold == nil {
			t.Errorf("%s: the function that sleeps is not told:\n%s", r.Endpoint, r.tree(t))
		}
		if scribble := r.tree(t).find("scribble"); r.Endpoint == "/fine" && (scribble == nil || scribble.Time < 0.03) {
			t.Errorf("%s: what is right again is told as %+v", r.Endpoint, scribble)
		}
	}
}
