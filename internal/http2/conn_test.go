package http2

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"apm-ebpf/internal/http1"
)

// step is one call on a Conn at a time.
type step func(c *Conn, ts uint64) (opened, ended []*http1.Request)

func read(text ...string) step { return readChunk(whole(strings.Join(text, ""))) }

func readChunk(ch http1.Chunk) step {
	return func(c *Conn, ts uint64) (opened, ended []*http1.Request) { return c.Read(ts, ch) }
}

func wrote(text ...string) step { return wroteChunk(whole(strings.Join(text, ""))) }

func wroteChunk(ch http1.Chunk) step {
	return func(c *Conn, ts uint64) (opened, ended []*http1.Request) {
		_, ended = c.Wrote(ts, ch)
		return nil, ended
	}
}

func closed(why http1.CloseReason) step {
	return func(c *Conn, ts uint64) (opened, ended []*http1.Request) { return nil, c.Close(ts, why) }
}

func missed(c *Conn, _ uint64) (opened, ended []*http1.Request) { c.Missed(); return nil, nil }

// play shows steps to a Conn, the first at time 1, the next at 2 and so on. It tells each request, in the order of
// opening, as "METHOD target status start,headDone,firstWrite,end@told flags", where told is the step that told its
// end.
func play(c *Conn, steps ...step) []string {
	var all []*http1.Request
	told := map[*http1.Request]uint64{}
	for i, e := range steps {
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

type table []struct {
	name  string
	steps []step
	want  []string
}

func (cases table) run(t *testing.T) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := play(new(Conn), tc.steps...); !slices.Equal(got, tc.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tc.want, "\n\t"))
			}
		})
	}
}

// bytewise makes a step of each byte.
func bytewise(make func(...string) step, text string) (steps []step) {
	for _, b := range []byte(text) {
		steps = append(steps, make(string([]byte{b})))
	}
	return steps
}

func TestRequests(t *testing.T) {
	get := func(stream uint32, path string) string { return newPeer().get(stream, path) }
	answer := func(stream uint32, flags uint8, status string) string { return newPeer().answer(stream, flags, status) }
	client, server := newPeer(), newPeer()
	a, b, c := client.get(11, "/a"), client.get(13, "/b"), client.get(15, "/c")
	answerB, answerA := server.answer(13, 0, "201"), server.answer(11, 0, "404")
	padded := made(frameHeaders, flagEndHeaders|flagPadded|flagPriority, 1, "\x03\x00\x00\x00\x00\x10"+
		newPeer().block(":method=GET", ":path=/padded")+"\x00\x00\x00")
	block := newPeer().block(":method=POST", ":path=/parts", ":authority=h")
	parts := made(frameHeaders, flagEndStream, 3, block[:2]) + made(frameContinuation, 0, 3, "") +
		made(frameContinuation, 0, 3, block[2:4]) + made(frameContinuation, flagEndHeaders, 3, block[4:])
	post := newPeer().headers(1, 0, ":method=POST", ":path=/p")
	trailers := newPeer().headers(1, flagEndStream, "grpc-status=0")
	push := made(framePush, flagEndHeaders|flagPadded, 1, "\x01\x00\x00\x00\x02"+newPeer().block(":method=GET", ":path=/pushed")+"\x00")
	connect := newPeer().headers(1, 0, ":method=CONNECT", ":protocol=websocket", ":path=/chat", ":authority=h")
	tunnel := newPeer().headers(1, 0, ":method=CONNECT", ":authority=h:443")
	table{
		{"no body", []step{read(hello, get(1, "/a")), wrote(settings, answer(1, flagEndStream, "204"))}, []string{"GET /a 204 1,1,2,2@2"}},
		{"body", []step{read(hello), read(get(1, "/a")), wrote(answer(1, 0, "200")), wrote(data(1, 0, "x")), wrote(data(1, flagEndStream, "y"))},
			[]string{"GET /a 200 2,2,3,5@5"}},
		{"preface in parts", []step{read(hello[:3]), read(hello[3:20]), read(hello[20:], get(1, "/a")), wrote(answer(1, flagEndStream, "200"))},
			[]string{"GET /a 200 3,3,4,4@4"}},
		{"empty end of a body", []step{read(hello, get(1, "/a")), wrote(answer(1, 0, "200"), data(1, 0, "xy")), wrote(data(1, flagEndStream, ""))},
			[]string{"GET /a 200 1,1,2,3@3"}},
		{"frame in parts", []step{read(hello, get(1, "/a")), wrote(answer(1, 0, "200")), wrote(data(1, flagEndStream, "xyz")[:8]), wrote(data(1, flagEndStream, "xyz")[8:11]), wrote("z")},
			[]string{"GET /a 200 1,1,2,5@5"}},
		{"trailers", []step{read(hello, post), read(data(1, flagEndStream, "in")), wrote(answer(1, 0, "200")), wrote(data(1, 0, "out")), wrote(trailers)},
			[]string{"POST /p 200 1,1,3,5@5"}},
		{"trailers of the request", []step{read(hello, post), read(data(1, 0, "in")), read(trailers), wrote(answer(1, flagEndStream, "200"))},
			[]string{"POST /p 200 1,1,4,4@4"}},
		{"interim answers", []step{read(hello, post), wrote(answer(1, 0, "100")), wrote(newPeer().answer(1, 0, "103"), answer(1, flagEndStream, "404"))},
			[]string{"POST /p 404 1,1,3,3@3"}},
		{"interleaved", []step{read(hello, a, b), wrote(answerB), wrote(answerA, data(13, flagEndStream, "b")), wrote(data(11, flagEndStream, "a"))},
			[]string{"GET /a 404 1,1,3,4@4", "GET /b 201 1,1,2,3@3"}},
		{"padding and priority", []step{read(hello, padded), wrote(answer(1, flagEndStream, "200"))}, []string{"GET /padded 200 1,1,2,2@2"}},
		{"head in parts", []step{read(hello), read(parts[:20]), read(parts[20:]), wrote(answer(3, flagEndStream, "200"))},
			[]string{"POST /parts 200 2,3,4,4@4"}},
		{"answer before the request's end", []step{read(hello, post), wrote(answer(1, flagEndStream, "413")), read(data(1, flagEndStream, "in"))},
			[]string{"POST /p 413 1,1,2,2@2"}},
		{"reset by the client", []step{read(hello, get(1, "/a")), read(reset(1)), wrote(answer(1, flagEndStream, "200"))},
			[]string{"GET /a 0 1,1,0,2@2 no_response client_closed"}},
		{"reset by the client in the answer", []step{read(hello, get(1, "/a")), wrote(answer(1, 0, "200")), read(reset(1))},
			[]string{"GET /a 200 1,1,2,3@3 client_closed"}},
		{"reset by the server", []step{read(hello, get(1, "/a")), wrote(answer(1, 0, "200")), wrote(reset(1))}, []string{"GET /a 200 1,1,2,3@3"}},
		{"refused by the server", []step{read(hello, get(1, "/a")), wrote(reset(1))}, []string{"GET /a 0 1,1,0,2@2 no_response"}},
		{"reset in the same read", []step{read(hello, get(1, "/a"), reset(1))}, []string{"GET /a 0 1,1,0,1@1 no_response client_closed"}},
		{"push", []step{read(hello, get(1, "/a")), wrote(push, answer(1, flagEndStream, "200")), wrote(newPeer().answer(2, flagEndStream, "200"))},
			[]string{"GET /a 200 1,1,2,2@2"}},
		{"WebSocket", []step{read(hello, connect), wrote(answer(1, 0, "200")), read(data(1, 0, "ping")), wrote(data(1, 0, "pong"))},
			[]string{"CONNECT /chat 200 1,1,2,2@2 upgraded"}},
		{"tunnel refused", []step{read(hello, tunnel), wrote(answer(1, 0, "405")), wrote(data(1, flagEndStream, "no"))},
			[]string{"CONNECT h:443 405 1,1,2,3@3"}},
		{"going away", []step{read(hello, a, b), wrote(goAway(11)), read(c), wrote(answer(11, flagEndStream, "200"))},
			[]string{"GET /a 200 1,1,4,4@4", "GET /b 0 1,1,0,2@2 no_response"}},
		{"closed", []step{read(hello, get(1, "/a")), wrote(answer(1, 0, "200")), closed(http1.Closed)}, []string{"GET /a 200 1,1,2,3@3"}},
		{"peer gone", []step{read(hello, get(1, "/a")), closed(http1.PeerGone), read(get(3, "/b"))}, []string{"GET /a 0 1,1,0,2@2 no_response client_closed"}},
		{"no path", []step{read(hello, newPeer().headers(1, flagEndStream, ":method=GET")), wrote(reset(1))}, nil},
		{"incomplete head", []step{read(hello, parts[:20]), closed(http1.PeerGone)}, nil},
		{"even stream", []step{read(hello, get(2, "/a"))}, nil},
		{"stream used again", []step{read(hello, a, reset(11)), read(a[:5], "\x00\x00\x00\x0b", a[9:], b)},
			[]string{"GET /a 0 1,1,0,1@1 no_response client_closed", "GET /b 0 2,2,0,0@0"}},
		{"stream of the past", []step{read(hello, a), read(get(9, "/c"))}, []string{"GET /a 0 1,1,0,0@0"}},
		{"other frames", []step{
			read(hello, made(frameWindow, 0, 0, "\x00\x00\x00\x01"), made(framePriority, 0, 7, "\x00\x00\x00\x00\x01"), made(0xfa, 0xff, 99, "grease"), get(1, "/a")),
			wrote(made(framePing, flagAck, 0, "12345678"), answer(1, flagEndStream, "200"))}, []string{"GET /a 200 1,1,2,2@2"}},
		{"byte by byte", append(append(bytewise(read, hello+padded), bytewise(wrote, settings+answer(1, 0, "200"))...), wrote(data(1, flagEndStream, ""))),
			[]string{fmt.Sprintf("GET /padded 200 %d,%d,%d,%d@%[4]d", len(hello)+1, len(hello+padded), len(hello+padded+settings)+1,
				len(hello+padded+settings+answer(1, 0, "200"))+1)}},
	}.run(t)
}

func TestLost(t *testing.T) {
	long := strings.Repeat("x", 9000)
	get := func(stream uint32, path string) string { return newPeer().get(stream, path) }
	answer := func(stream uint32, flags uint8, status string) string { return newPeer().answer(stream, flags, status) }
	client := newPeer()
	ab := client.get(1, "/a") + client.get(3, "/b")
	again := client.get(5, "/a") + client.get(7, "/b")
	hidden := get(1, "/a") + data(1, 0, long) + get(3, "/hidden") + data(1, 0, long)
	post := newPeer().headers(1, 0, ":method=POST", ":path=/p")
	big := newPeer().headers(1, flagEndStream, ":method=GET", ":path=/big", "cookie="+strings.Repeat("\xfe", 6000), "x=y")
	late := func(ts uint64, e step) step {
		return func(c *Conn, _ uint64) (opened, ended []*http1.Request) { return e(c, ts) }
	}
	parts := made(frameHeaders, 0, 3, "\x88") + made(frameContinuation, flagEndHeaders, 3, "")
	two := answer(1, 0, "200") + data(1, 0, long) + data(1, 0, long)
	table{
		{"gap in a body", []step{read(hello), readChunk(cut(post+data(1, 0, long), 100, 32)), read(get(3, "/b")), wrote(answer(1, 0, "200")), wroteChunk(cut(data(1, flagEndStream, long), 64, 32))},
			[]string{"POST /p 200 2,2,4,5@5", "GET /b 0 3,3,0,0@0"}},
		{"gap in a head", []step{read(hello), readChunk(cut(big, 100, 32)), wrote(answer(1, flagEndStream, "200"))}, []string{"GET /big 200 2,2,3,3@3 truncated"}},
		{"gap over a head", []step{read(hello), readChunk(cut(hidden, 100, 32)), read(again), wrote(answer(5, flagEndStream, "200"))},
			[]string{"GET /a 0 2,2,0,0@0", "GET  200 3,3,4,4@4 truncated", "GET  0 3,3,0,0@0 truncated"}},
		{"end in a gap, empty last frame", []step{read(hello, get(1, "/a")), wroteChunk(cut(two+data(1, flagEndStream, ""), 100, 32))},
			[]string{"GET /a 200 1,1,2,2@2"}},
		{"end in a gap, trailers", []step{read(hello, get(1, "/a")), wroteChunk(cut(two+newPeer().headers(1, flagEndStream, "grpc-status=0"), 100, 32))},
			[]string{"GET /a 200 1,1,2,2@2"}},
		{"end in a gap, nothing follows", []step{read(hello, get(1, "/a")), wroteChunk(cut(two, 100, 32)), closed(http1.PeerGone)},
			[]string{"GET /a 200 1,1,2,2@3"}},
		{"end in a gap, others follow", []step{read(hello, ab), wroteChunk(cut(two, 100, 32)), late(silentAnswer, wrote(data(3, 0, ""))), late(silentAnswer+2, wrote(data(3, flagEndStream, "")))},
			[]string{"GET /a 200 1,1,2,2@4", "GET /b 0 1,1,1000000000,1000000002@4"}},
		{"answer goes on", []step{read(hello, get(1, "/a")), wroteChunk(cut(two, 100, 32)), wrote(data(1, 0, "")), late(silentAnswer+2, wrote(data(1, flagEndStream, "")))},
			[]string{"GET /a 200 1,1,2,1000000002@4"}},
		{"answer in a gap", []step{read(hello, ab), wroteChunk(cut(two+answer(3, flagEndStream, "200")+data(1, flagEndStream, long), 100, 32)), late(noAnswer+2, read(settings))},
			[]string{"GET /a 200 1,1,2,2@3", "GET /b 0 1,1,0,2@3"}},
		{"slow answer after a gap", []step{read(hello, ab), wroteChunk(cut(two, 100, 32)), late(silentAnswer*9, wrote(answer(3, flagEndStream, "404")))},
			[]string{"GET /a 200 1,1,2,2@3", "GET /b 404 1,1,9000000000,9000000000@3"}},
		{"body without a head", []step{read(hello, get(1, "/a")), missed, wrote(data(1, flagEndStream, "z"))}, []string{"GET /a 0 1,1,3,3@3"}},
		{"missed answer", []step{read(hello, get(1, "/a")), missed, closed(http1.Closed)}, []string{"GET /a 0 1,1,0,2@3"}},
		{"missed nothing", []step{read(hello), missed, read(get(1, "/a")), wrote(answer(1, flagEndStream, "200"))}, []string{"GET /a 200 3,3,4,4@4"}},
		{"garbage", []step{read(hello), read("\x00\x00\x04\x03\x00\x00\x00\x00\x00oops"), read(get(1, "/a")), wrote("some garbage"), wrote(answer(1, flagEndStream, "200"))},
			[]string{"GET /a 200 3,3,5,5@5"}},
		{"no preface", []step{read("GET / HTTP/1.1\r\n\r\n"), read(get(1, "/a")), wrote(answer(1, flagEndStream, "200"))}, []string{"GET /a 200 2,2,3,3@3"}},
		{"gap in the preface", []step{readChunk(cut(preface, 10, 5)), read(settings, get(1, "/a"))}, []string{"GET /a 0 2,2,0,0@0"}},
		{"head goes on in the next call", []step{read(hello, ab), wroteChunk(cut(two+parts+data(3, flagEndStream, ""), 100, 20))},
			[]string{"GET /a 200 1,1,2,0@0", "GET /b 0 1,1,2,2@2"}},
		{"answer begins after a gap", []step{read(hello, ab), wroteChunk(cut(two, 100, 32)), late(silentAnswer, wrote(answer(3, 0, "404"))), late(2*silentAnswer+2, wrote(data(3, flagEndStream, "")))},
			[]string{"GET /a 200 1,1,2,2@4", "GET /b 404 1,1,1000000000,2000000002@4"}},
		{"found at the end of a call", []step{read(hello, ab), missed, wrote("end of a body", answer(3, 0, "404"), data(3, flagEndStream, "")), read("end of a body", get(5, "/c"))},
			[]string{"GET /a 0 1,1,0,0@0", "GET /b 404 1,1,3,3@3", "GET /c 0 4,4,0,0@0"}},
		{"missed within a head", []step{read(hello, made(frameHeaders, 0, 5, "")), missed, read(again)}, []string{"GET  0 3,3,0,0@0 truncated"}},
		{"head that another frame breaks", []step{read(hello, made(frameHeaders, 0, 1, ""), settings), read(get(3, "/a"))}, []string{"GET /a 0 2,2,0,0@0"}},
		{"padding longer than the frame", []step{read(hello, made(frameHeaders, flagPadded|flagEndHeaders, 1, "\x09ab")), read(get(3, "/a"))}, []string{"GET /a 0 2,2,0,0@0"}},
		{"bad compression", []step{read(hello, made(frameHeaders, flagEndHeaders, 1, "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), get(3, "/b"))},
			[]string{"GET  0 1,1,0,0@0 truncated", "GET /b 0 1,1,0,0@0"}},
	}.run(t)
}

func TestMidway(t *testing.T) {
	client, server := newPeer(), newPeer()
	client.get(1, "/a")
	server.answer(1, 0, "201")
	c := Midway()
	got := play(c,
		wrote(server.answer(1, flagEndStream, "201")), // of a request that was not seen
		read(client.get(3, "/a")+client.get(5, "/b")),
		wrote(server.answer(3, flagEndStream, "404")+server.answer(5, flagEndStream, "201")),
		read(client.get(7, "/b")), wrote(server.answer(7, flagEndStream, "404")),
		wrote(server.answer(7, flagEndStream, "302")), read(client.get(9, "/b")), wrote(server.answer(9, flagEndStream, "302")))
	want := []string{
		"GET  404 2,2,3,3@3 truncated", "GET /b 0 2,2,3,3@3 truncated", "GET /b 404 4,4,5,5@5 truncated", "GET /b 302 7,7,8,8@8 truncated",
	}
	if !slices.Equal(got, want) || c.LostReads+c.LostWrites > 0 {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestMidwayLargeTable shows references to more entries than a table of the usual size has.
func TestMidwayLargeTable(t *testing.T) {
	p := newPeer()
	p.enc.SetMaxDynamicTableSizeLimit(maxTable)
	p.enc.SetMaxDynamicTableSize(maxTable)
	p.block("x-old=1")
	for i := range 500 {
		p.block(fmt.Sprintf("x-%d=1", i))
	}
	got := play(Midway(), read(p.headers(1, 0, ":method=GET", "x-old=1", ":path=/a")), read(p.headers(3, 0, ":method=GET", "x-old=1", ":path=/b")),
		read(p.headers(5, 0, ":method=GET", ":path=/b")))
	want := []string{"GET  0 1,1,0,0@0 truncated", "GET /b 0 2,2,0,0@0 truncated", "GET /b 0 3,3,0,0@0"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestBegins(t *testing.T) {
	head := newPeer().get(7, "/a")
	for text, want := range map[string]bool{
		head: true, head[:9]: true, head[:8]: false, head + settings: true, head + "GET / HTTP/1.1": false,
		settings: false, "": false, hello: false, "GET / HTTP/1.1\r\n\r\n": false,
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": false,
	} {
		if Begins([]byte(text)) != want {
			t.Errorf("Begins(%q) is %t", text, !want)
		}
	}
}

func TestIdle(t *testing.T) {
	idle := func(want bool) step {
		return func(c *Conn, ts uint64) (opened, ended []*http1.Request) {
			if got := c.Idle(); got != want {
				t.Errorf("at %d: idle is %t", ts, got)
			}
			return nil, nil
		}
	}
	head := newPeer().get(1, "/a")
	play(new(Conn), idle(true), read(hello), idle(true), read(head[:3]), idle(false), read(head[3:12]), idle(false), read(head[12:]), idle(false),
		wrote(newPeer().answer(1, flagEndStream, "200")), idle(true), read(newPeer().get(3, "/b")), idle(false),
		wrote(reset(3)), idle(true), read(made(frameHeaders, 0, 5, "")), idle(false), missed, idle(true), closed(http1.Closed), idle(true))
}

func TestTexts(t *testing.T) {
	const id, parent = "6f1b0c9e6c1f4b559d3e6a2f6f3f7a10", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	c := new(Conn)
	p := newPeer()
	opened, _ := c.Read(1, whole(hello+p.headers(1, 0, ":method=POST", ":path=/x?y", ":authority=a:1", "host=b",
		"x-apm-tracer="+id+":17", "traceparent="+parent)+
		p.headers(3, 0, ":method=GET", ":path=/", "host=b", "x-apm-tracer=bad", "traceparent="+parent, "traceparent="+parent)))
	if len(opened) != 2 || c.Stream(1) != opened[0] || c.Stream(3) != opened[1] || c.Stream(5) != nil {
		t.Fatalf("%d requests", len(opened))
	}
	for i, want := range [][]string{
		{"POST", "/x?y", "HTTP/2.0", "a:1", id, "17", parent, parent[3:35]},
		{"GET", "/", "HTTP/2.0", "b", "", "", parent, ""},
	} {
		q := opened[i]
		got := []string{q.Method, q.Target, q.Proto, q.Host, q.TraceID, q.ClientTime, q.Traceparent, q.ParentTraceID}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
