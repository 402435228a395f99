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

// BenchmarkRequest is what the agent does for a request that is too short to be sampled: from two transfers on a
// connection that is kept to a line in the log.
func BenchmarkRequest(b *testing.B) {
	const pid, connection = 1, 1
	log, err := emit.OpenLog(emit.LogOptions{Path: filepath.Join(b.TempDir(), "log")})
	if err != nil {
		b.Fatal(err)
	}
	a := &agent{options: &options{mapper: filter.List}, records: log}
	a.tracer = trace.New(1, a.finished)
	process := &target.Process{PID: pid, Exe: "/usr/bin/hello", Cmdline: []string{"/usr/bin/hello"}}
	a.services = &services{known: map[int]*service{pid: {process: process, name: "hello", program: "/usr/bin/hello"}}}
	a.tracer.Open(trace.Connection{
		ID: connection, PID: pid,
		Local: netip.MustParseAddrPort("127.0.0.1:8000"), Remote: netip.MustParseAddrPort("127.0.0.1:50000"),
	}, 0)
	head := []byte("GET /hello?name=world HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX-APM-TRACER: 6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10:1764000000\r\n\r\n")
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Length: 6\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\n")
	received := trace.Transfer{Connection: connection, Begins: true, Sampled: true, PID: pid, TID: 2, Goroutine: trace.Goroutine{ID: 7}, Chunk: http1.Chunk{Head: head, Len: len(head)}}
	sent := trace.Transfer{Connection: connection, Sampled: true, PID: pid, TID: 2, Goroutine: trace.Goroutine{ID: 7}, Chunk: http1.Chunk{Head: answer, Len: len(answer)}}
	b.ReportAllocs()
	now := uint64(1)
	for b.Loop() {
		received.Time, received.Begun, sent.Begun = now, now, now
		a.tracer.Received(&received)
		sent.Time = now + 30_000
		a.tracer.Sent(&sent)
		a.tracer.Quiet(now, func(trace.Window) {})
		now += 100_000
	}
	if a.written == 0 {
		b.Fatal("no record was written")
	}
}
