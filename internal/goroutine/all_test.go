package goroutine

import "testing"

// TestStartedBefore tells what a goroutine started for an earlier request from what it started for this one.
func TestStartedBefore(t *testing.T) {
	const background = 1000 // address of the server's go statement
	r := &Reader{Skip: func(goPC uint64) bool { return goPC == background }, watched: map[uint64]*watched{}}
	w := &watched{account: account{id: 7}, skipsFirst: true}
	r.watched[7] = w
	r.all.started = []started{{id: 36, parent: 7, goPC: background, before: 50, at: 100}}
	r.findMarks()
	for _, test := range []struct {
		name       string
		id, before uint64
		want       bool
	}{
		{"left over", 35, 50, true},
		{"of this one", 37, 50, false},
		{"found by a later look", 35, 110, false},
		{"of another processor", 32, 50, false},
	} {
		s := &started{id: test.id, parent: 7, before: test.before, at: 100}
		if got := w.startedBefore(s); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
