package http1

import (
	"math/rand/v2"
	"testing"
)

// player shows a script to a Conn in random pieces and notes what the parser has to tell.
type player struct {
	*script
	conn     *Conn
	r, w     int // bytes read and written
	got      []*Request
	answered int  // exchanges that have ended
	whole    bool // pieces have no gaps
	fine     bool // pieces are mostly small
}

// piece cuts n bytes at off into a Chunk, the gap of which has loose bytes only.
func (p *player) piece(r *rand.Rand, s *stream, off, n int) Chunk {
	data := append([]byte(nil), s.data[off:off+n]...)
	ch := Chunk{Head: data, Len: n}
	if p.whole {
		return ch
	}
	lo := r.IntN(n)
	for lo < n && !s.loose[off+lo] {
		lo++
	}
	hi := lo
	for hi < n && s.loose[off+hi] {
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
		n = 1 + r.IntN(70000)
	}
	if r.IntN(40) == 0 {
		n = 1 + r.IntN(300000)
	}
	return min(n, most)
}

// step makes one event at ts. It tells false when nothing is left.
func (p *player) step(t *testing.T, r *rand.Rand, ts uint64) bool {
	limit := 0 // no answer begins before its request's head was read
	for _, x := range p.exchanges {
		if p.r >= x.inHead {
			limit = x.outEnd
		}
	}
	if p.answered == len(p.exchanges) {
		limit = len(p.out.data)
	}
	readable := p.exchanges[len(p.exchanges)-1].inEnd
	if p.conn.opaque {
		readable = len(p.in.data)
	}
	canRead, canWrite := p.r < readable, p.w < limit
	switch {
	case canRead && (!canWrite || r.IntN(2) == 0):
		p.read(r, ts, p.size(r, readable-p.r))
	case canWrite:
		p.write(t, r, ts, p.size(r, limit-p.w))
	default:
		return false
	}
	return true
}

func (p *player) read(r *rand.Rand, ts uint64, n int) {
	for i, x := range p.exchanges {
		q := &x.want
		if p.r <= x.in && x.in < p.r+n {
			q.Start = ts
		}
		if p.r < x.inHead && x.inHead <= p.r+n {
			q.HeadDone = ts
		}
		if i >= p.answered {
			q.BytesIn += int64(max(0, min(p.r+n, x.inEnd)-max(p.r, x.in)))
		}
	}
	opened, _ := p.conn.Read(ts, p.piece(r, &p.in, p.r, n))
	p.got = append(p.got, opened...)
	p.r += n
}

func (p *player) write(t *testing.T, r *rand.Rand, ts uint64, n int) {
	var began, ended []*Request
	for i, x := range p.exchanges {
		q := &x.want
		if p.w <= x.final && x.final < p.w+n {
			q.FirstWrite = ts
		}
		if p.w < x.status && x.status <= p.w+n {
			began = append(began, q)
		}
		if p.w < x.outEnd && p.w+n > x.out {
			q.End = ts
			if i+1 < len(p.exchanges) {
				p.exchanges[i+1].want.PrevEnd = ts
			}
		}
		if p.w < x.outEnd && x.outEnd <= p.w+n {
			if x.open {
				continue // it is complete only when the connection is closed
			}
			ended = append(ended, q)
			p.answered++
		}
	}
	gotBegan, gotEnded := p.conn.Wrote(ts, p.piece(r, &p.out, p.w, n))
	p.w += n
	if len(gotBegan) != len(began) {
		t.Errorf("at byte %d: %d answers began, want %d", p.w, len(gotBegan), len(began))
	}
	if len(gotEnded) != len(ended) {
		t.Errorf("at byte %d: %d answers ended, want %d", p.w, len(gotEnded), len(ended))
	}
}

func (p *player) check(t *testing.T) {
	if len(p.got) != len(p.exchanges) {
		t.Fatalf("%d requests, want %d", len(p.got), len(p.exchanges))
	}
	for i, x := range p.exchanges {
		got := *p.got[i]
		got.begun, got.text = false, ""
		if got != x.want {
			t.Errorf("request %d of %d:\ngot  %+v\nwant %+v", i, len(p.got), got, x.want)
		}
	}
	if p.conn.LostReads+p.conn.LostWrites > 0 {
		t.Errorf("lost framing: %d reads, %d writes", p.conn.LostReads, p.conn.LostWrites)
	}
}

// TestAnySplit shows that neither the splitting of valid exchanges into reads and writes nor gaps in their bodies
// nor other connections, nor the requests that were told before, change what is told.
func TestAnySplit(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 300
	}
	conns := make([]Conn, 3)
	var pool Pool
	for i := range conns {
		conns[i].Use(&pool)
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		players := make([]*player, len(conns))
		for i := range players {
			conns[i].Reset()
			players[i] = &player{script: newScript(r), conn: &conns[i], whole: r.IntN(3) == 0, fine: r.IntN(4) == 0}
		}
		for ts, left := uint64(1), len(players); left > 0; ts++ {
			i := r.IntN(left)
			if !players[i].step(t, r, ts) {
				players[i].conn.Close(ts, Closed)
				left--
				players[i], players[left] = players[left], players[i]
			}
		}
		for _, p := range players {
			p.check(t)
			for _, q := range p.got {
				pool.Put(q)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
