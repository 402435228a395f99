package http1

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// event is one call on a Conn at a time.
type event func(c *Conn, ts uint64) (opened, ended []*Request)

func read(text string) event { return readChunk(whole(text)) }

func readChunk(ch Chunk) event {
	return func(c *Conn, ts uint64) (opened, ended []*Request) { return c.Read(ts, ch) }
}

func wrote(text string) event { return wroteChunk(whole(text)) }

func wroteChunk(ch Chunk) event {
	return func(c *Conn, ts uint64) (opened, ended []*Request) {
		_, ended = c.Wrote(ts, ch)
		return nil, ended
	}
}

func closed(why CloseReason) event {
	return func(c *Conn, ts uint64) (opened, ended []*Request) { return nil, c.Close(ts, why) }
}

// gap is a call of which n bytes between head and tail were not kept.
func gap(head string, n int, tail string) Chunk {
	return Chunk{Head: []byte(head), Tail: []byte(tail), Len: len(head) + n + len(tail)}
}

// play shows events to a new Conn, the first at time 1, the next at 2 and so on. It tells each request, in the order
// of opening, as "METHOD target status start,headDone,firstWrite,end@told flags", where told is the event that told
// its end.
func play(c *Conn, events ...event) []string {
	var all []*Request
	told := map[*Request]uint64{}
	for i, e := range events {
		ts := uint64(i + 1)
		opened, ended := e(c, ts)
		all = append(all, opened...)
		for _, q := range ended {
			if told[q] != 0 {
				return []string{"told twice: " + q.Target}
			}
			told[q] = ts
		}
	}
	var texts []string
	for _, q := range all {
		text := fmt.Sprintf("%s %s %d %d,%d,%d,%d@%d", q.Method, q.Target, q.Status,
			q.Start, q.HeadDone, q.FirstWrite, q.End, told[q])
		for _, flag := range []struct {
			name string
			set  bool
		}{{"upgraded", q.Upgraded}, {"no_response", q.NoResponse}, {"client_closed", q.ClientClosed}, {"truncated", q.Truncated}} {
			if flag.set {
				text += " " + flag.name
			}
		}
		texts = append(texts, text)
	}
	return texts
}

const (
	get   = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	getB  = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
	post  = "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
	ok2   = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	okHi  = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	okEnd = "HTTP/1.1 200 OK\r\n\r\n"
	chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
)

type table []struct {
	name   string
	events []event
	want   []string
}

func (cases table) run(t *testing.T) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := play(new(Conn), tc.events...); !slices.Equal(got, tc.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tc.want, "\n\t"))
			}
		})
	}
}

func TestRequests(t *testing.T) {
	table{
		{"plain", []event{read(get), wrote(ok2)}, []string{"GET /a 200 1,1,2,2@2"}},
		{"kept connection", []event{read(get), wrote(ok2), read(getB), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@2", "GET /b 200 3,3,4,4@4"}},
		{"head in pieces", []event{read("G"), read("ET /a HTT"), read("P/1.1\r"), read("\n\r"), read("\n"), wrote(ok2)},
			[]string{"GET /a 200 1,5,6,6@6"}},
		{"empty lines before", []event{read("\r\n"), read("\r\n\n"), read(get), wrote(ok2)}, []string{"GET /a 200 3,3,4,4@4"}},
		{"empty lines within", []event{read("\r\n" + get), wrote(ok2)}, []string{"GET /a 200 1,1,2,2@2"}},
		{"LF line ends", []event{read("GET /a HTTP/1.0\nA: b\n\n"), wrote(ok2)}, []string{"GET /a 200 1,1,2,2@2"}},
		{"any token", []event{read("m-SEARCH!# * HTTP/1.1\r\n\r\n"), wrote(ok2)}, []string{"m-SEARCH!# * 200 1,1,2,2@2"}},
		{"any target", []event{read("GET \x00\"\xff\x7f HTTP/1.1\r\n\r\n"), wrote(ok2)}, []string{"GET \x00\"\xff\x7f 200 1,1,2,2@2"}},
		{"odd headers", []event{read("GET /a HTTP/1.1\r\n: x\r\nno colon\r\n\x00\xff:\x01\r\n folded\r\n\r\n"), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@2"}},
		{"incomplete head", []event{read("GET /a HTTP/1.1\r\nHost: h\r\n"), wrote("HTTP/1.1 408 X\r\n\r\n"), closed(Closed)}, nil},
		{"no version", []event{read("GET /a\r\n\r\n"), closed(Closed)}, nil},
		{"bad version", []event{read("GET /a HTTP/1.10\r\n\r\n"), read("GET /a http/1.1\r\n\r\n"), read("GET /a HTTP/2\r\n\r\n")}, nil},
		{"space in the target", []event{read("GET /a b HTTP/1.1\r\n\r\n")}, nil},
		{"no target", []event{read("GET  HTTP/1.1\r\n\r\n")}, nil},
		{"no method", []event{read(" /a HTTP/1.1\r\n\r\n")}, nil},
		{"space at the end", []event{read("GET /a HTTP/1.1 \r\n\r\n")}, nil},
		{"two CRs", []event{read("GET /a HTTP/1.1\r\r\n\r\n")}, nil},
		{"garbage", []event{read("\x16\x03\x01\x02\x00"), read("\x01" + get), closed(PeerGone)}, nil},
		{"request after garbage", []event{read("\x16\x03\x01"), wrote("\x15\x03"), read(get), wrote(ok2)}, []string{"GET /a 200 3,3,4,4@4"}},
		{"request after garbage in pieces", []event{read("GET /\r\n" + get), read("GET"), read(" /b HTTP/1.1\r\n\r\n"), wrote(ok2)},
			[]string{"GET /b 200 2,3,4,4@4"}},
		{"HTTP/2", []event{read("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), read(get), wrote(ok2), closed(Closed)}, nil},
		{"HTTP/2's preface amid HTTP/1", []event{read(get + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), wrote(ok2), wrote("HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n")},
			[]string{"GET /a 200 1,1,2,2@2", "PRI * 400 1,1,3,3@3"}},
		{"PROXY line", []event{read("PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n" + get), wrote(ok2)}, []string{"GET /a 200 1,1,2,2@2"}},
		{"PROXY line in pieces", []event{read("PROXY UNKNOWN"), read("\r\n" + get), wrote(ok2)}, []string{"GET /a 200 2,2,3,3@3"}},
		{"PROXY header", []event{read(string(proxyBinary) + "\x21\x11\x00\x0c123456789012" + get), wrote(ok2)}, []string{"GET /a 200 1,1,2,2@2"}},
		{"method PROXY", []event{read("PROXY UNKNOWN HTTP/1.1\r\n\r\n"), wrote(ok2)}, []string{"PROXY UNKNOWN 200 1,1,2,2@2"}},
		{"nothing moved", []event{readChunk(Chunk{}), read(get), wroteChunk(Chunk{}), readChunk(Chunk{Len: -1}), wrote(ok2)},
			[]string{"GET /a 200 2,2,5,5@5"}},
		{"taken up midway", []event{read("of a body"), wrote("of an answer"), read(get), wrote(ok2)}, []string{"GET /a 200 3,3,4,4@4"}},
	}.run(t)
}

func TestPipelining(t *testing.T) {
	table{
		{"one read, one write", []event{read(get + getB), wrote(ok2 + ok2)}, []string{"GET /a 200 1,1,2,2@2", "GET /b 200 1,1,2,2@2"}},
		{"two writes", []event{read(get + getB), wrote(ok2), wrote(ok2)}, []string{"GET /a 200 1,1,2,2@2", "GET /b 200 1,1,3,3@3"}},
		{"begun in an earlier read", []event{read(get + getB[:3]), wrote(ok2), read(getB[3:]), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@2", "GET /b 200 1,3,4,4@4"}},
		{"during an answer", []event{read(get), wrote(okHi), read(getB), wrote("o"), wrote("k" + ok2)},
			[]string{"GET /a 200 1,1,2,5@5", "GET /b 200 3,3,5,5@5"}},
		{"after a body", []event{read(post + "12345" + getB), wrote(ok2 + ok2)},
			[]string{"POST /p 200 1,1,2,2@2", "GET /b 200 1,1,2,2@2"}},
		{"close before the second", []event{read(get + getB), wrote(ok2), closed(Closed)},
			[]string{"GET /a 200 1,1,2,2@2", "GET /b 0 1,1,0,3@3 no_response"}},
		{"second is in the gap of a write", []event{read(get + getB), wroteChunk(gap("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 99, "x")), read(get), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@2", "GET /b 0 1,1,2,2@3", "GET /a 200 3,3,4,4@4"}},
	}.run(t)
}

func TestMissed(t *testing.T) {
	missed := func(c *Conn, ts uint64) (opened, ended []*Request) { c.Missed(); return nil, nil }
	table{
		{"rest of a body", []event{read(post), missed, wrote(ok2), read(getB), wrote(ok2)},
			[]string{"POST /p 200 1,1,3,3@3", "GET /b 200 4,4,5,5@5"}},
		{"rest of a head", []event{read("GET /a HT"), missed, read("\r\n\r\n"), read(getB), wrote(ok2)}, []string{"GET /b 200 4,4,5,5@5"}},
		{"whole answer", []event{read(get), missed, read(getB), wrote(ok2)}, []string{"GET /a 0 1,1,0,3@3", "GET /b 200 3,3,4,4@4"}},
		{"head of an answer", []event{read(get), missed, wrote("ok"), read(getB), wrote(ok2)},
			[]string{"GET /a 0 1,1,0,4@4", "GET /b 200 4,4,5,5@5"}},
		{"rest of an answer", []event{read(get), wrote(okHi), missed, read(getB), wrote(ok2)},
			[]string{"GET /a 200 1,1,2,2@4", "GET /b 200 4,4,5,5@5"}},
		{"chunk", []event{read(get), wrote(chunk), missed, missed, wrote("0\r\n\r\n")}, []string{"GET /a 200 1,1,2,5@5"}},
		{"everything", []event{read(get), missed, closed(Closed)}, []string{"GET /a 0 1,1,0,3@3"}},
		{"nothing of it", []event{missed, read(get), wrote(ok2)}, []string{"GET /a 200 2,2,3,3@3"}},
	}.run(t)
}

func TestIdle(t *testing.T) {
	idle := func(want bool) event {
		return func(c *Conn, ts uint64) (opened, ended []*Request) {
			if got := c.Idle(); got != want {
				t.Errorf("at %d: idle is %t", ts, got)
			}
			return nil, nil
		}
	}
	play(new(Conn), idle(true), read("G"), idle(false), read(get[1:]), idle(false), wrote(ok2), idle(true),
		read(post), idle(false), wrote(ok2), idle(true), read("12345PO"), idle(false), closed(Closed), idle(true))
}

func TestPrevEnd(t *testing.T) {
	c := new(Conn)
	opened, _ := c.Read(5, whole(get+getB))
	a, b := opened[0], opened[1]
	c.Wrote(7, whole(ok2))
	c.Wrote(9, whole(ok2))
	opened, _ = c.Read(11, whole(get))
	if got := []uint64{a.PrevEnd, b.PrevEnd, opened[0].PrevEnd}; !slices.Equal(got, []uint64{0, 7, 9}) {
		t.Errorf("PrevEnd is %d, want [0 7 9]", got)
	}
}

func TestRequestBodies(t *testing.T) {
	inner := "POST /p HTTP/1.1\r\nContent-Length: 28\r\n\r\n"
	expect := "POST /p HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 28\r\n\r\n"
	final := "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"
	table{
		{"looks like a request", []event{read(inner), read(get), wrote(ok2)}, []string{"POST /p 200 1,1,3,3@3"}},
		{"read after the answer", []event{read(inner), wrote(ok2), read(get), read(getB), wrote(ok2)},
			[]string{"POST /p 200 1,1,2,2@2", "GET /b 200 4,4,5,5@5"}},
		{"answer before the body's end", []event{read(post + "12"), wrote(okHi), read("345"), wrote("ok")}, []string{"POST /p 200 1,1,2,4@4"}},
		{"100-continue", []event{read(expect), wrote("HTTP/1.1 100 Continue\r\n\r\n"), read(get), wrote(ok2)}, []string{"POST /p 200 1,1,4,4@4"}},
		{"100-continue, body after the answer", []event{read(expect), wrote("HTTP/1.1 100 Continue\r\n\r\n"), wrote(ok2), read(get), read(getB), wrote(ok2)},
			[]string{"POST /p 200 1,1,3,3@3", "GET /b 200 5,5,6,6@6"}},
		{"100-continue refused, no body", []event{read(expect), wrote(final), read(get), wrote(ok2)},
			[]string{"POST /p 417 1,1,2,2@2", "GET /a 200 3,3,4,4@4"}},
		{"100-continue refused, body all the same", []event{read(expect), wrote(final), read("{" + strings.Repeat("x", 27) + get), wrote(ok2)},
			[]string{"POST /p 417 1,1,2,2@2", "GET /a 200 3,3,4,4@4"}},
		{"chunked", []event{read("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1c;a=\"b\"\r\n" + get + "\r\n0\r\nT: x\r\n"), read("\r\n" + getB), wrote(ok2 + ok2)},
			[]string{"POST /p 200 1,1,3,3@3", "GET /b 200 2,2,3,3@3"}},
		{"gap in a sized body", []event{readChunk(gap("POST /p HTTP/1.1\r\nContent-Length: 900000\r\n\r\n", 900000, "")), read(getB), wrote(ok2 + ok2)},
			[]string{"POST /p 200 1,1,3,3@3", "GET /b 200 2,2,3,3@3"}},
		{"gap in a chunk", []event{readChunk(gap("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n", 257, "0\r\n\r\n")), read(getB), wrote(ok2 + ok2)},
			[]string{"POST /p 200 1,1,3,3@3", "GET /b 200 2,2,3,3@3"}},
		{"gap over a chunk header", []event{readChunk(gap("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n", 260, "\r\n\r\n")), wrote(ok2), read(getB), wrote(ok2)},
			[]string{"POST /p 200 1,1,2,2@2", "GET /b 200 3,3,4,4@4"}},
		{"two lengths", []event{read("POST /p HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n" + get), wrote(ok2), read(getB), wrote(ok2)},
			[]string{"POST /p 200 1,1,2,2@2", "GET /b 200 3,3,4,4@4"}},
		{"one length twice", []event{read("POST /p HTTP/1.1\r\nContent-Length: 3, 03\r\nContent-Length: 3\r\n\r\n123" + getB), wrote(ok2 + ok2)},
			[]string{"POST /p 200 1,1,2,2@2", "GET /b 200 1,1,2,2@2"}},
		{"negative length", []event{read("POST /p HTTP/1.1\r\nContent-Length: -3\r\n\r\n" + get), wrote(ok2)}, []string{"POST /p 200 1,1,2,2@2"}},
		{"endless length", []event{read("POST /p HTTP/1.1\r\nContent-Length: " + strings.Repeat("9", 99) + "\r\n\r\n" + get), wrote(ok2)}, []string{"POST /p 200 1,1,2,2@2"}},
		{"unread gigabytes", []event{read("POST /p HTTP/1.1\r\nContent-Length: 99999999999999999\r\n\r\n" + get), wrote(ok2), read(get)}, []string{"POST /p 200 1,1,2,2@2"}},
		{"endless chunk", []event{read("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("f", 40) + "\r\n" + get), wrote(ok2)}, []string{"POST /p 200 1,1,2,2@2"}},
		{"bad end of a chunk", []event{read("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx" + get), wrote(ok2)}, []string{"POST /p 200 1,1,2,2@2"}},
		{"identity", []event{read("POST /p HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n12345" + getB), wrote(ok2 + ok2)},
			[]string{"POST /p 200 1,1,2,2@2", "GET /b 200 1,1,2,2@2"}},
		{"coding without chunks", []event{read("POST /p HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n" + get), wrote(ok2)}, []string{"POST /p 200 1,1,2,2@2"}},
	}.run(t)
}

func TestLostBodyCounts(t *testing.T) {
	head := "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
	c := new(Conn)
	opened, _ := c.Read(1, whole(head+"ff\r\n"))
	q := opened[0]
	c.Read(2, gap("", 300, "")) // hides the size of the next chunk
	c.Read(3, gap("x", 100, "\r\n"))
	want := int64(len(head) + 4 + 300 + 103)
	if q.BytesIn != want {
		t.Errorf("%d bytes in, want %d", q.BytesIn, want)
	}
	c.Wrote(4, whole(ok2))
	c.Read(5, whole("rest"))
	if q.BytesIn != want {
		t.Errorf("%d bytes in after the end, want %d", q.BytesIn, want)
	}
}
