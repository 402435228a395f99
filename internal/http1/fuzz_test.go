package http1

import (
	"bytes"
	"testing"
)

// monitor checks what must hold whatever a Conn is shown.
type monitor struct {
	t     *testing.T
	open  map[*Request]bool // and whether it began
	ended map[*Request]Request
	heads int // protocols in what was read, each the end of a request line at best
	total int

	missed bool
}

func (m *monitor) opened(qs []*Request) {
	for _, q := range qs {
		m.open[q] = false
		m.total++
	}
	if m.total > m.heads {
		m.t.Fatalf("%d requests of %d request lines", m.total, m.heads)
	}
}

func (m *monitor) begun(qs []*Request) {
	for _, q := range qs {
		if begun, open := m.open[q]; begun || !open && m.ended[q] == (Request{}) {
			m.t.Fatalf("began twice or was never opened: %+v", q)
		}
		if _, open := m.open[q]; open {
			m.open[q] = true
		}
	}
}

func (m *monitor) end(qs []*Request) {
	for _, q := range qs {
		if _, open := m.open[q]; !open {
			m.t.Fatalf("ended twice or was never opened: %+v", q)
		}
		delete(m.open, q)
		m.ended[q] = *q
		if q.Start == 0 || q.Start > q.HeadDone || q.End < q.FirstWrite || q.BytesIn <= 0 || q.BytesOut < 0 {
			m.t.Fatalf("makes no sense: %+v", q)
		}
		if (q.FirstWrite == 0) != q.NoResponse && !m.missed {
			m.t.Fatalf("answered and not answered: %+v", q)
		}
	}
}

// cut makes the next Chunk of data: its length, and how much of that is kept at both ends, are in three bytes.
func cut(data []byte) (ch Chunk, rest []byte) {
	n := min(int(data[0])+1, len(data)-3)
	head := min(int(data[1]), n)
	tail := min(int(data[2]), n-head)
	body := data[3 : 3+n]
	ch = Chunk{Head: bytes.Clone(body[:head]), Tail: bytes.Clone(body[n-tail:]), Len: n}
	if data[1] > 250 {
		ch.Len += int(data[2]) << 40
	}
	return ch, data[3+n:]
}

// FuzzConn shows garbage: each event is a byte that tells its kind and, for reads and writes, a Chunk.
func FuzzConn(f *testing.F) {
	add := func(texts ...string) {
		var data []byte
		for i, text := range texts {
			data = append(data, byte(i%2), byte(len(text)-1), byte(255), 0)
			data = append(data, text...)
		}
		f.Add(data)
	}
	add(get, ok2, post, chunk, "12345"+get, "2\r\nok\r\n0\r\n\r\n", getB, okEnd)
	add("CONNECT / HTTP/1.1\r\n\r\n", okEnd, get, ok2)
	add("POST / HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 100 \r\n\r\n", "1\r\nx\r\n0\r\n\r\n", ok2)
	f.Fuzz(func(t *testing.T, data []byte) {
		var c Conn
		m := &monitor{t: t, open: map[*Request]bool{}, ended: map[*Request]Request{}}
		ts := uint64(1)
		for ; len(data) > 4; ts++ {
			kind := data[0]
			var ch Chunk
			ch, data = cut(data[1:])
			switch {
			case kind == 253:
				m.missed = true
				c.Missed()
			case kind == 255:
				c.Reset()
				clear(m.open)
			case kind%2 == 0:
				m.heads += bytes.Count(ch.Head, []byte("\n")) + bytes.Count(ch.Tail, []byte("\n"))
				opened, ended := c.Read(ts, ch)
				m.opened(opened)
				m.end(ended)
			default:
				began, ended := c.Wrote(ts, ch)
				m.begun(began)
				m.end(ended)
			}
			if cap(c.in.head.buf) > 2*bounds[FieldTarget] || cap(c.in.line.buf) > 2*maxLine || cap(c.out.line.buf) > 2*maxLine {
				t.Fatal("buffers grow")
			}
		}
		m.end(c.Close(ts, PeerGone))
		if len(m.open) > 0 || !c.Idle() {
			t.Fatalf("%d requests are open after the close", len(m.open))
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
	f.Add([]byte(get+post+"12345\r\n"+getB), byte(1))
	f.Add([]byte("P /p HTTP/1.1\nTransfer-Encoding: chunked\n\n1\nx\n2;y\r\nzz\r\n0\r\na: b\r\n\r\n"+get), byte(7))
	f.Add([]byte("P /p HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\r\r\n\r\n"+get), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, size byte) {
		var one, many Conn
		opened, _ := one.Read(1, Chunk{Head: data, Len: len(data)})
		want := append([]*Request(nil), opened...)
		if one.in.state == readSkip || one.opaque || bytes.HasPrefix(data, []byte("PROXY ")) || bytes.HasPrefix(data, proxyBinary) {
			return
		}
		var got []*Request
		for n := int(size) + 1; len(data) > 0; {
			n = min(n, len(data))
			opened, _ := many.Read(1, Chunk{Head: data[:n], Len: n})
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
