package trace

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/http1"
)

// framer is the goroutine that reads and writes the frames of a connection in a service of Go.
const framer = uint64(5)

// frames gives what passes on a connection of HTTP/2: the head of a message on each of some streams.
func frames(preface string, streams []uint32, fields ...hpack.HeaderField) []byte {
	var text, block bytes.Buffer
	text.WriteString(preface)
	to, encoder := http2.NewFramer(&text, nil), hpack.NewEncoder(&block)
	for _, stream := range streams {
		block.Reset()
		for _, f := range fields {
			encoder.WriteField(f)
		}
		to.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	}
	return text.Bytes()
}

// readStreams has requests read that are all named by their stream.
func (p *play) readStreams(at, conn uint64, streams ...uint32) {
	text := []byte(http2.ClientPreface)
	for i, stream := range streams {
		path := string(rune('a' + i))
		text = append(text, frames("", []uint32{stream}, hpack.HeaderField{Name: ":method", Value: "GET", Sensitive: true},
			hpack.HeaderField{Name: ":path", Value: "/" + path, Sensitive: true}, hpack.HeaderField{Name: ":scheme", Value: "http", Sensitive: true})...)
	}
	p.tracer.Received(&Transfer{
		Connection: conn, Begun: at * ms, Begins: true, Sampled: true, Framed: true, PID: server, TID: server, Time: at * ms,
		Goroutine: Goroutine{ID: p.framer}, Chunk: http1.Chunk{Head: text, Len: len(text)},
	})
}

// TestResetAtOnce has one read bring a request and that the client has reset it: it has one record, and is open no longer.
func TestResetAtOnce(t *testing.T) {
	p := newPlay(t)
	p.framer = framer
	p.open(1)
	p.readStreams(10, 1, 1)
	var reset bytes.Buffer
	http2.NewFramer(&reset, nil).WriteRSTStream(3, http2.ErrCodeCancel)
	head := hpack.HeaderField{Name: ":path", Value: "/reset", Sensitive: true}
	text := append(frames("", []uint32{3}, hpack.HeaderField{Name: ":method", Value: "GET", Sensitive: true}, head), reset.Bytes()...)
	p.tracer.Received(&Transfer{
		Connection: 1, Framed: true, PID: server, TID: server, Time: 12 * ms,
		Goroutine: Goroutine{ID: p.framer}, Chunk: http1.Chunk{Head: text, Len: len(text)},
	})
	if x := p.told["/reset"]; x == nil || !x.ClientClosed || !x.NoResponse {
		t.Errorf("the request that was reset is told as %+v", x)
	}
	if open := p.tracer.find(1).requests; len(open) != 1 || open[0].Target != "/a" {
		t.Errorf("%d requests are open, want the one that was not reset", len(open))
	}
}

func (p *play) answerStreams(at, conn uint64, streams ...uint32) {
	text := frames("", streams, hpack.HeaderField{Name: ":status", Value: "200", Sensitive: true})
	p.tracer.Sent(&Transfer{
		Connection: conn, Framed: true, PID: server, TID: server, Time: at * ms, Goroutine: Goroutine{ID: p.framer},
		Chunk: http1.Chunk{Head: text, Len: len(text)},
	})
}

func (p *play) serve(at, conn, goid uint64, stream uint32) {
	p.tracer.Serve(conn, stream, Goroutine{ID: goid}, at*ms)
}

// TestStreamsWait tells what the requests of HTTP/2 do before a goroutine serves them, and after it has.
func TestStreamsWait(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.readStreams(10, 1, 1, 3)
	p.serve(12, 1, handler, 1)
	p.parked(0, 13, handler, "serve a", "sleep", 1)
	p.serve(16, 1, handler, 3) // by the same goroutine
	p.parked(0, 17, handler, "serve b", "select", 1)
	p.seen(18, 18, handler, goroutine.Dead, 1)
	p.answerStreams(20, 1, 1, 3)
	p.wants("/a", `
serve 10
  [blocked] 4
  [runqueue] 2
  a 4
    [sleep] 4`)
	p.wants("/b", `
serve 10
  [blocked] 2
  [runqueue] 6
  b 2
    [select] 2`)
}

// TestWatchesWindows has the agent stay awake for a stream that may begin without waking it, until the window is ended.
func TestWatchesWindows(t *testing.T) {
	p := newPlay(t)
	p.open(1)
	p.readStreams(10, 1, 1)
	p.serve(11, 1, 7, 1)
	p.answerStreams(20, 1, 1)
	for _, at := range []uint64{21, 20 + framedLinger/ms - 1} {
		p.tracer.Quiet(at*ms, func(Window) { t.Errorf("the window has ended after %d ms", at-20) })
		if !p.tracer.Watching() {
			t.Errorf("nobody watches after %d ms", at-20)
		}
	}
	ended := 0
	p.tracer.Quiet(20*ms+framedLinger, func(Window) { ended++ })
	if ended != 1 || p.tracer.Watching() {
		t.Errorf("%d windows have ended, somebody watches: %t", ended, p.tracer.Watching())
	}
}
