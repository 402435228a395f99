package http2

import (
	"bytes"
	"testing"

	"apm-ebpf/internal/http1"
)

// monitor checks what must hold whatever a Conn is shown.
type monitor struct {
	t      *testing.T
	open   map[*http1.Request]bool // and whether it began
	ended  map[*http1.Request]http1.Request
	lossy  bool
	frames int // bytes read that may be types of frames, HEADERS
	total  int
}

func (m *monitor) opened(qs []*http1.Request) {
	for _, q := range qs {
		m.open[q] = false
		m.total++
	}
	if m.total > m.frames {
		m.t.Fatalf("%d requests of at most %d HEADERS", m.total, m.frames)
	}
}

func (m *monitor) begun(qs []*http1.Request) {
	for _, q := range qs {
		begun, open := m.open[q]
		if _, ended := m.ended[q]; begun || !open && !ended {
			m.t.Fatalf("began twice or was never opened: %+v", q)
		}
		if open {
			m.open[q] = true
		}
	}
}

func (m *monitor) end(qs []*http1.Request) {
	for _, q := range qs {
		if _, open := m.open[q]; !open {
			m.t.Fatalf("ended twice or was never opened: %+v", q)
		}
		delete(m.open, q)
		m.ended[q] = *q
		if q.Start == 0 || q.Start > q.HeadDone || q.End < q.FirstWrite || q.BytesIn < frameHeaderLen || q.BytesOut < 0 {
			m.t.Fatalf("makes no sense: %+v", q)
		}
		if (q.FirstWrite == 0) != q.NoResponse && !m.lossy {
			m.t.Fatalf("answered and not answered: %+v", q)
		}
	}
}

// take makes the next Chunk of data: its length, and how much of that is kept at both ends, are in three bytes.
func take(data []byte) (ch http1.Chunk, rest []byte) {
	n := min(int(data[0])+1, len(data)-3)
	head := min(int(data[1]), n)
	tail := min(int(data[2]), n-head)
	body := data[3 : 3+n]
	ch = http1.Chunk{Head: bytes.Clone(body[:head]), Tail: bytes.Clone(body[n-tail:]), Len: n}
	if data[1] > 250 && n > head {
		ch.Len += int(data[2]) << 40
	}
	return ch, data[3+n:]
}

// FuzzConn shows garbage: each event is a byte that tells its kind and, for reads and writes, a Chunk.
func FuzzConn(f *testing.F) {
	c, s := newPeer(), newPeer()
	add := func(kinds string, texts ...string) {
		var data []byte
		for i, text := range texts {
			data = append(data, kinds[i], byte(len(text)-1), byte(250), 0)
			data = append(data, text...)
		}
		f.Add(data)
	}
	add("rwrw", hello+c.get(1, "/a"), settings+s.answer(1, 0, "200")+data(1, flagEndStream, "x"),
		c.headers(3, 0, ":method=CONNECT", ":path=/c")+reset(3), goAway(3))
	add("mrw", hello, c.get(5, "/a"), s.answer(5, flagEndStream, "418"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := new(Conn)
		m := &monitor{t: t, open: map[*http1.Request]bool{}, ended: map[*http1.Request]http1.Request{}}
		ts := uint64(1)
		for ; len(data) > 4; ts++ {
			kind := data[0]
			var ch http1.Chunk
			ch, data = take(data[1:])
			switch {
			case kind == 'm':
				m.lossy = true
				c.Missed()
			case kind == 'l':
				ts += 100e9
			case kind == 255:
				c.Reset()
				clear(m.open)
			case kind%2 == 0:
				m.frames += bytes.Count(ch.Head, []byte{1}) + bytes.Count(ch.Tail, []byte{1})
				opened, ended := c.Read(ts, ch)
				m.opened(opened)
				m.end(ended)
			default:
				began, ended := c.Wrote(ts, ch)
				m.begun(began)
				m.end(ended)
			}
			m.lossy = m.lossy || c.LostWrites > 0
			if len(m.open) > len(c.streams) {
				t.Fatalf("%d requests are open, %d of them known", len(m.open), len(c.streams))
			}
		}
		m.end(c.Close(ts, http1.PeerGone))
		if len(m.open) > 0 || !c.Idle() || c.targets != 0 {
			t.Fatalf("%d requests are open after the close, %d bytes of targets", len(m.open), c.targets)
		}
		for q, was := range m.ended {
			if *q != was {
				t.Fatalf("changed after its end:\nwas %+v\nis  %+v", was, *q)
			}
		}
	})
}

// FuzzSplit checks that what is understood at all is understood alike however it was read.
func FuzzSplit(f *testing.F) {
	c := newPeer()
	f.Add([]byte(hello+c.get(1, "/a")+data(1, flagPadded, "\x00")+c.get(3, "/b")), byte(7))
	f.Fuzz(func(t *testing.T, data []byte, size byte) {
		one, many := new(Conn), new(Conn)
		opened, _ := one.Read(1, whole(preface+string(data)))
		want := append([]*http1.Request(nil), opened...)
		if one.LostReads > 0 {
			return
		}
		many.Read(1, whole(preface))
		var got []*http1.Request
		for n := int(size) + 1; len(data) > 0; {
			n = min(n, len(data))
			opened, _ := many.Read(1, http1.Chunk{Head: data[:n], Len: n})
			got = append(got, opened...)
			data = data[n:]
		}
		if len(got) != len(want) {
			t.Fatalf("%d requests, want %d", len(got), len(want))
		}
		for i := range got {
			if *got[i] != *want[i] {
				t.Fatalf("request %d:\ngot  %+v\nwant %+v", i, *got[i], *want[i])
			}
		}
	})
}
