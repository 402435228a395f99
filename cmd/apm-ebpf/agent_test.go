package main

import (
	"net/netip"
	"path/filepath"
	"testing"

	"apm-ebpf/internal/emit"
	"apm-ebpf/internal/filter"
	"apm-ebpf/internal/http1"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

const pid, connection = 1, 1

var (
	head   = []byte("GET /hello?name=world HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX-APM-TRACER: 6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10:1764000000\r\n\r\n")
	answer = []byte("HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Length: 6\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\n")
)

func benchAgent(b *testing.B) *agent {
	log, err := emit.OpenLog(emit.LogOptions{Path: filepath.Join(b.TempDir(), "log")})
	if err != nil {
		b.Fatal(err)
	}
	a := &agent{options: &options{mapper: filter.List}, records: log}
	a.tracer = trace.New(1, a.finished)
	process := &target.Process{PID: pid, Exe: "/usr/bin/hello", Cmdline: []string{"/usr/bin/hello"}}
	a.services = &services{known: map[int]*service{pid: {process: process, name: "hello", program: "/usr/bin/hello"}}}
	b.ReportAllocs()
	b.Cleanup(func() {
		if a.written == 0 {
			b.Fatal("no record was written")
		}
	})
	return a
}

func open(a *agent, now uint64) {
	a.tracer.Open(trace.Connection{
		ID: connection, PID: pid,
		Local: netip.MustParseAddrPort("127.0.0.1:8000"), Remote: netip.MustParseAddrPort("127.0.0.1:50000"),
	}, now)
}

func transfer(what []byte, g uint64) trace.Transfer {
	return trace.Transfer{Connection: connection, Sampled: true, PID: pid, TID: 2, Goroutine: trace.Goroutine{ID: g}, Chunk: http1.Chunk{Head: what, Len: len(what)}}
}

// BenchmarkRequest is what the agent does for a request that is too short to be sampled: from two transfers on a
// connection that is kept to a line in the log.
func BenchmarkRequest(b *testing.B) {
	a := benchAgent(b)
	open(a, 0)
	received, sent := transfer(head, 7), transfer(answer, 7)
	received.Begins = true
	now := uint64(1)
	for b.Loop() {
		received.Time, received.Begun, sent.Begun = now, now, now
		a.tracer.Received(&received)
		sent.Time = now + 30_000
		a.tracer.Sent(&sent)
		a.tracer.Quiet(now, func(trace.Window) {})
		now += 100_000
	}
}

// BenchmarkConnection is the same for a connection that carries one request, answered in two pieces by a thread.
func BenchmarkConnection(b *testing.B) {
	a := benchAgent(b)
	received, begun, sent := transfer(head, 0), transfer(answer[:len(answer)-6], 0), transfer(answer[len(answer)-6:], 0)
	received.Begins = true
	now := uint64(1)
	for b.Loop() {
		open(a, now)
		received.Time, received.Begun, begun.Begun, sent.Begun = now, now, now, now
		a.tracer.Received(&received)
		begun.Time = now + 100_000
		a.tracer.Sent(&begun)
		sent.Time = now + 110_000
		a.tracer.Sent(&sent)
		a.tracer.Close(connection, http1.Closed, now+120_000)
		a.tracer.Quiet(now, func(trace.Window) {})
		now += 200_000
	}
}
