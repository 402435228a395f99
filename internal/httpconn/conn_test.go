package httpconn

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"apm-ebpf/internal/http1"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// side makes the frames of one side of a connection of HTTP/2.
type side struct {
	frames, block bytes.Buffer
	framer        *http2.Framer
	encoder       *hpack.Encoder
}

func newSide() *side {
	s := new(side)
	s.framer = http2.NewFramer(&s.frames, nil)
	s.encoder = hpack.NewEncoder(&s.block)
	return s
}

// head makes a HEADERS frame, after SETTINGS if it is the first. fields are names and values.
func (s *side) head(stream uint32, end bool, fields ...string) string {
	s.frames.Reset()
	s.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		s.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	s.framer.WriteSettings()
	s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: end})
	return s.frames.String()
}

func (s *side) get(stream uint32, path string) string {
	return s.head(stream, true, ":method", "GET", ":scheme", "http", ":authority", "h", ":path", path)
}

func (s *side) answer(stream uint32, status string) string {
	return s.head(stream, true, ":status", status, "server", "s")
}

func whole(text string) http1.Chunk { return http1.Chunk{Head: []byte(text), Len: len(text)} }

// log notes what a Conn tells.
type log struct {
	conn Conn
	ts   uint64
	told []string
}

func (l *log) note(what string, qs []*http1.Request) {
	for _, q := range qs {
		l.told = append(l.told, fmt.Sprintf("%d %s %s %s %s %d", l.ts, what, q.Proto, q.Method, q.Target, q.Status))
	}
}

func (l *log) read(text string) {
	l.ts++
	opened, ended := l.conn.Read(l.ts, whole(text))
	l.note("opened", opened)
	l.note("ended", ended)
}

func (l *log) wrote(text string) {
	l.ts++
	began, ended := l.conn.Wrote(l.ts, whole(text))
	l.note("began", began)
	l.note("ended", ended)
}

func (l *log) check(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(l.told, want) {
		t.Errorf("got  %q\nwant %q", l.told, want)
	}
	if !l.conn.Idle() || l.conn.Stream(1) != nil {
		t.Error("a request is open")
	}
}

func TestHTTP1(t *testing.T) {
	var l log
	l.read("GET /a HTTP/1.1\r\n\r\n")
	l.conn.Missed()
	l.wrote("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	l.read(newSide().get(1, "/no"))
	l.note("closed", l.conn.Close(9, http1.Closed))
	l.check(t, "1 opened HTTP/1.1 GET /a 0", "2 began HTTP/1.1 GET /a 200", "2 ended HTTP/1.1 GET /a 200")
}

// TestPriorKnowledge shows the preface and a request in two reads, split anywhere.
func TestPriorKnowledge(t *testing.T) {
	text := http2.ClientPreface + newSide().get(1, "/a")
	for i := 1; i < len(text); i++ {
		var l log
		server := newSide()
		l.wrote(server.head(0, false)[:9]) // a server need not wait
		l.read(text[:i])
		l.read(text[i:])
		if q := l.conn.Stream(1); q == nil || l.conn.Idle() || q.BytesIn == 0 {
			t.Fatalf("split at %d: stream 1 has %v", i, q)
		}
		l.wrote(server.answer(1, "204"))
		l.check(t, "3 opened HTTP/2.0 GET /a 0", "4 began HTTP/2.0 GET /a 204", "4 ended HTTP/2.0 GET /a 204")
	}
}

// TestUpgrade answers a request of HTTP/1.1 as the first stream, with the frames in the write of the 101 or later.
func TestUpgrade(t *testing.T) {
	for _, apart := range []bool{false, true} {
		var l log
		client, server := newSide(), newSide()
		body := ""
		if apart {
			body = "hi"
		}
		l.read(fmt.Sprintf("POST /up HTTP/1.1\r\nContent-Length: %d\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"+
			"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n%s", len(body), body))
		switching, answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", server.answer(1, "201")
		if apart {
			l.wrote(switching[:20])
			l.wrote(switching[20:])
		} else {
			l.wrote("HTTP/1.1 100 Continue\r\n\r\n")
			l.wrote(switching + answer[:5])
			answer = answer[5:]
		}
		if q := l.conn.Stream(1); q == nil || q.Target != "/up" || q.FirstWrite != 0 {
			t.Fatalf("stream 1 has %+v", q)
		}
		l.wrote(answer)
		l.read(http2.ClientPreface + client.get(3, "/next"))
		l.wrote(server.answer(3, "200"))
		l.check(t, "1 opened HTTP/1.1 POST /up 0", "4 began HTTP/1.1 POST /up 201", "4 ended HTTP/1.1 POST /up 201",
			"5 opened HTTP/2.0 GET /next 0", "6 began HTTP/2.0 GET /next 200", "6 ended HTTP/2.0 GET /next 200")
	}
}

func TestUpgradeRefused(t *testing.T) {
	var l log
	l.read("GET /up HTTP/1.1\r\nUpgrade: h2c\r\n\r\n")
	l.wrote("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	l.read("GET /again HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
	l.wrote("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
	l.check(t, "1 opened HTTP/1.1 GET /up 0", "2 began HTTP/1.1 GET /up 200", "2 ended HTTP/1.1 GET /up 200",
		"3 opened HTTP/1.1 GET /again 0", "4 began HTTP/1.1 GET /again 101", "4 ended HTTP/1.1 GET /again 101")
}

func TestMidway(t *testing.T) {
	var l log
	client, server := newSide(), newSide()
	client.get(1, "/a")
	server.answer(1, "200")
	l.wrote("\x00\x00\x04\x00\x01\x00\x00\x00\x01rest")
	const settings = 9
	l.read(client.get(3, "/b")[settings:])
	l.wrote(server.answer(3, "404"))
	l.conn.Missed()
	l.read(client.get(5, "/c")[settings:])
	l.wrote(server.answer(5, "404"))
	l.check(t, "2 opened HTTP/2.0 GET /b 0", "3 began HTTP/2.0 GET /b 404", "3 ended HTTP/2.0 GET /b 404",
		"4 opened HTTP/2.0 GET /c 0", "5 began HTTP/2.0 GET /c 404", "5 ended HTTP/2.0 GET /c 404")
}

// TestLostReads has bytes of which only the number is known where a request may begin.
func TestLostReads(t *testing.T) {
	for _, begin := range []string{http2.ClientPreface, "POST /up HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"} {
		var c Conn
		c.Read(1, http1.Chunk{Head: []byte(begin), Len: len(begin)})
		if c.LostReads() != 0 {
			t.Errorf("%q: %d lost before anything was", begin, c.LostReads())
		}
		c.Read(2, http1.Chunk{Len: 100})
		if c.LostReads() != 1 {
			t.Errorf("%q: %d lost, want 1", begin, c.LostReads())
		}
	}
}
