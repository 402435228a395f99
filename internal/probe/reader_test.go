package probe

import (
	"slices"
	"testing"
)

// Events are put in order of time, but names before whatever came after them.
func TestInsert(t *testing.T) {
	var r reader
	for _, e := range []Event{
		{Time: 50, Kind: KindSample}, {Time: 80, Kind: KindRecv}, {Time: 100, Kind: KindCode}, {Time: 100, Kind: KindSample},
		{Time: 70, Kind: KindSwitchOut}, {Time: 90, Kind: KindSend}, {Time: 60, Kind: KindSwitchIn},
	} {
		r.insert(e)
	}
	var got []Kind
	for _, e := range r.batch {
		got = append(got, e.Kind)
	}
	want := []Kind{KindSample, KindCode, KindSwitchIn, KindSwitchOut, KindRecv, KindSend, KindSample}
	if !slices.Equal(got, want) || !slices.IsSortedFunc(r.batch, func(a, b Event) int { return int(a.Time) - int(b.Time) }) {
		t.Errorf("%+v, want %v", r.batch, want)
	}
}
