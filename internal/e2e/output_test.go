package e2e

import (
	"regexp"
	"sync"
	"testing"
	"time"
)

// Output collects what a process prints, and lets tests wait for it.
type Output struct {
	mu      sync.Mutex
	text    []byte
	ended   bool
	changed chan struct{}
}

func newOutput() *Output { return &Output{changed: make(chan struct{})} }

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(p), nil
}

// end notes that nothing will follow.
func (o *Output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// wait returns the first n matches of a pattern, as its first group or as a whole.
func (o *Output) wait(t testing.TB, pattern string, n int) []string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		found := expression.FindAllSubmatch(o.text, n)
		ended, changed := o.ended, o.changed
		o.mu.Unlock()
		if len(found) == n {
			texts := make([]string, n)
			for i, match := range found {
				texts[i] = string(match[len(match)-1])
			}
			return texts
		}
		if ended {
			t.Fatalf("the process ended without %q:\n%s", pattern, o)
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no %q after %v:\n%s", pattern, patience, o)
		}
	}
}

// eventually waits until a condition holds that nothing announces.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
