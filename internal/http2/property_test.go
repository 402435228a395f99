package http2

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"apm-ebpf/internal/http1"
)

// player shows a script to a Conn in random pieces and notes what the parser has to tell.
type player struct {
	*script
	conn         *Conn
	r, w         int // bytes read and written
	got          []*http1.Request
	opened       []*exchange
	whole        bool // pieces have no gaps
	fine         bool // pieces are mostly small
	began, ended int  // in this call
}

// piece cuts n bytes at off into a Chunk, the gap of which has loose bytes only.
func (p *player) piece(r *rand.Rand, d *direction, off, n int) http1.Chunk {
	data := append([]byte(nil), d.data[off:off+n]...)
	ch := http1.Chunk{Head: data, Len: n}
	if p.whole {
		return ch
	}
	lo := r.IntN(n)
	for lo < n && !d.loose[off+lo] {
		lo++
	}
	hi := lo
	for hi < n && d.loose[off+hi] {
		hi++
	}
	if lo < hi {
		ch.Head, ch.Tail = data[:lo], data[lo+r.IntN(hi-lo):]
	}
	return ch
}

func (p *player) size(r *rand.Rand, most int) int {
	n := 1 + r.IntN(20)
	if !p.fine {
		n = 1 + r.IntN(5000)
	}
	return min(n, most)
}

// bytes tells how many bytes of the frames of s count between lo and hi: a frame's header where it is complete.
func (d *direction) bytes(s stretch, lo, hi int) (n int64) {
	for at := s.lo; at < s.hi; {
		payload := at + frameHeaderLen
		if lo < payload && payload <= hi {
			n += frameHeaderLen
		}
		at = payload + parseFrame(d.data[at:]).length
		n += int64(max(0, min(at, hi)-max(payload, lo)))
	}
	return n
}

// step makes one event at ts. It tells false when nothing is left.
func (p *player) step(t *testing.T, r *rand.Rand, ts uint64) bool {
	limit := len(p.out.data) // no answer begins before its request's head was read
	for _, s := range p.out.parts {
		if s.x != nil && s.x.needs > p.r {
			limit = s.lo
			break
		}
	}
	canRead, canWrite := p.r < len(p.in.data), p.w < limit
	switch {
	case canRead && (!canWrite || r.IntN(2) == 0):
		p.read(t, r, ts, p.size(r, len(p.in.data)-p.r))
	case canWrite:
		p.write(t, r, ts, p.size(r, limit-p.w))
	default:
		return false
	}
	return true
}

func (p *player) end(x *exchange, ts uint64) {
	x.ended, x.want.End, x.want.NoResponse = true, ts, x.want.FirstWrite == 0
	p.ended++
}

func (p *player) read(t *testing.T, r *rand.Rand, ts uint64, n int) {
	lo, hi := p.r, p.r+n
	p.ended = 0
	opened := len(p.opened)
	for _, s := range p.in.parts {
		if s.x == nil || s.hi <= lo || s.lo >= hi || s.x.ended {
			continue
		}
		q := &s.x.want
		if s.what == partHead && s.lo >= lo {
			q.Start = ts
		}
		if s.what != partReset {
			q.BytesIn += p.in.bytes(s, lo, hi)
		}
		switch {
		case s.hi > hi:
		case s.what == partHead:
			q.HeadDone = ts
			p.opened = append(p.opened, s.x)
		case s.what == partReset:
			q.ClientClosed = true
			p.end(s.x, ts)
		}
	}
	gotOpened, gotEnded := p.conn.Read(ts, p.piece(r, &p.in, lo, n))
	p.got = append(p.got, gotOpened...)
	p.r = hi
	if len(p.got) != len(p.opened) || len(gotEnded) != p.ended {
		t.Fatalf("at byte %d read: %d requests, want %d; %d ended, want %d", hi, len(gotOpened), len(p.opened)-opened, len(gotEnded), p.ended)
	}
	for i, x := range p.opened {
		if q := p.conn.Stream(x.stream); q != nil && q != p.got[i] || (q == nil) != x.ended {
			t.Fatalf("at byte %d read: stream %d has request %+v", hi, x.stream, q)
		}
	}
}

func (p *player) write(t *testing.T, r *rand.Rand, ts uint64, n int) {
	lo, hi := p.w, p.w+n
	p.began, p.ended = 0, 0
	for _, s := range p.out.parts {
		if s.x == nil || s.hi <= lo || s.lo >= hi || s.x.ended {
			continue
		}
		q := &s.x.want
		head := s.what == partHead || s.what == partOnly
		if head && s.lo >= lo {
			s.x.want.PrevEnd = ts // FirstWrite, which counts once the head is complete
		}
		if p.out.data[s.lo+3] != byte(frameReset) {
			q.BytesOut += p.out.bytes(s, lo, hi)
		}
		if s.hi > hi {
			continue
		}
		if head {
			q.FirstWrite, q.PrevEnd = q.PrevEnd, 0
			p.began++
		}
		if s.what == partLast || s.what == partOnly {
			p.end(s.x, ts)
		}
	}
	gotBegan, gotEnded := p.conn.Wrote(ts, p.piece(r, &p.out, lo, n))
	p.w = hi
	if len(gotBegan) != p.began || len(gotEnded) != p.ended {
		t.Fatalf("at byte %d written: %d began, want %d; %d ended, want %d", hi, len(gotBegan), p.began, len(gotEnded), p.ended)
	}
}

func (p *player) check(t *testing.T) {
	for i, x := range p.opened {
		x.want.PrevEnd = 0
		if x.want.FirstWrite == 0 {
			x.want.Status = 0
		}
		if got := *p.got[i]; !slices.Equal(told(got), told(x.want)) {
			t.Errorf("request %d of %d:\ngot  %+v\nwant %+v", i, len(p.got), got, x.want)
		}
	}
	if len(p.opened) != len(p.exchanges) || p.conn.LostReads+p.conn.LostWrites > 0 || !p.conn.Idle() {
		t.Errorf("%d of %d requests; lost framing: %d reads, %d writes", len(p.opened), len(p.exchanges), p.conn.LostReads, p.conn.LostWrites)
	}
}

// told gives what a request tells, without what it keeps for itself.
func told(q http1.Request) (fields []any) {
	v := reflect.ValueOf(q)
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			fields = append(fields, v.Field(i).Interface())
		}
	}
	return fields
}

// TestAnySplit shows that neither the splitting of valid exchanges into reads and writes nor gaps in their bodies
// nor other streams change what is told.
func TestAnySplit(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 300
	}
	var conn Conn
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		conn.Reset()
		p := &player{script: newScript(r), conn: &conn, whole: r.IntN(3) == 0, fine: r.IntN(4) == 0}
		ts := uint64(1)
		for p.step(t, r, ts) {
			ts++
		}
		p.check(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
