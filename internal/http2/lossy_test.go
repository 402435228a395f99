package http2

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"apm-ebpf/internal/http1"
)

// lossy shows a script to a Conn in pieces of which anything may be missing.
type lossy struct {
	*script
	conn *Conn
	t    *testing.T
	ts   uint64
	open map[*http1.Request]*exchange

	told, missed, unknown int
}

// show shows d from lo on, up to hi.
func (l *lossy) show(r *rand.Rand, d *direction, lo, hi int) {
	l.ts++
	if r.IntN(20) == 0 {
		l.conn.Missed()
		l.missed++
		return
	}
	p := d.data[lo:hi:hi]
	ch := http1.Chunk{Head: p, Len: len(p)}
	if len(p) > 0 && r.IntN(4) == 0 {
		head := r.IntN(len(p))
		ch.Head, ch.Tail = p[:head], p[max(head, len(p)-32):]
	}
	var opened, ended []*http1.Request
	if d == &l.in {
		opened, ended = l.conn.Read(l.ts, ch)
	} else {
		_, ended = l.conn.Wrote(l.ts, ch)
	}
	l.told += len(opened)
	for _, x := range l.exchanges {
		if q := l.conn.Stream(x.stream); q != nil && l.open[q] == nil {
			l.open[q] = x
			l.compare(q, &x.want)
		}
	}
	for _, q := range ended {
		if x := l.open[q]; x != nil && (x.ended || q.Status != 0 && q.Status != x.want.Status) {
			l.t.Errorf("ended twice, or with the status of another:\ngot  %+v\nwant %+v", *q, x.want)
		} else if x != nil {
			x.ended = true
		}
	}
}

// compare checks that what is told of a request is right or missing.
func (l *lossy) compare(got, want *http1.Request) {
	if got.Truncated {
		l.unknown++
	}
	for _, text := range [][2]string{
		{got.Method, want.Method}, {got.Target, want.Target}, {got.Host, want.Host}, {got.TraceID, want.TraceID},
		{got.ClientTime, want.ClientTime}, {got.Traceparent, want.Traceparent}, {got.ParentTraceID, want.ParentTraceID},
	} {
		if text[0] != text[1] && (text[0] != "" || !got.Truncated) {
			l.t.Errorf("got %q, want %q or nothing of\ngot  %+v\nwant %+v", text[0], text[1], *got, *want)
		}
	}
}

// TestAnyLoss shows that whatever is not shown, what is told is right, and that requests are told again as soon as
// they can be seen.
func TestAnyLoss(t *testing.T) {
	seeds := 500
	if testing.Short() {
		seeds = 300
	}
	told, missed, unknown := 0, 0, 0
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		l := &lossy{script: newScript(r), conn: new(Conn), t: t, open: map[*http1.Request]*exchange{}}
		if r.IntN(4) == 0 {
			l.conn = Midway()
		}
		in, out := 0, 0
		for in < len(l.in.data) || out < len(l.out.data) {
			size := 1 + r.IntN(3000)
			if r.IntN(2) == 0 {
				n := min(size, len(l.in.data)-in)
				l.show(r, &l.in, in, in+n)
				in += n
				continue
			}
			n := min(size, len(l.out.data)-out)
			l.show(r, &l.out, out, out+n)
			out += n
		}
		told, missed, unknown = told+l.told, missed+l.missed, unknown+l.unknown
		l.conn.Missed()
		opened, _ := l.conn.Read(1e6, whole(l.in.peer.get(1001, fmt.Sprint("/", seed))))
		opened = append([]*http1.Request(nil), opened...)
		_, ended := l.conn.Wrote(1e6+1, whole(l.out.peer.answer(1001, 0, "200")+data(1001, flagEndStream, "x")))
		want := fmt.Sprint("/", seed)
		if len(opened) != 1 || opened[0].Start != 1e6 || opened[0].Target != want {
			t.Errorf("after losses: %d requests", len(opened))
		} else if q := opened[0]; len(ended) != 1 || ended[0] != q || q.Status != 200 || q.FirstWrite != 1e6+1 || q.End != 1e6+1 {
			t.Errorf("after losses: %+v", *q)
		}
		if ended := l.conn.Close(2e6, http1.Closed); l.conn.Stream(1001) != nil || !l.conn.Idle() || len(ended) > len(l.exchanges) {
			t.Errorf("%d requests ended at the close", len(ended))
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d requests were told in spite of %d losses, %d of them without all of their fields", told, missed, unknown)
}
