package main

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/emit"
	"apm-ebpf/internal/filter"
	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

const (
	pid, tid    = 1, 2
	connections = 64
)

var (
	head   = "GET /hello?name=world HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX-APM-TRACER: 6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10:1764000000\r\n\r\n"
	answer = "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Length: 6\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\n"
)

func benchAgent(b *testing.B) *agent {
	log, err := emit.OpenLog(emit.LogOptions{Path: os.DevNull})
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

// happens hands the agent an event.
func (a *agent) happens(e *probe.Event, now uint64) {
	e.Time = now
	a.arrived(e)
	a.handle(e)
}

// polled does now and then what the agent does between polls.
func (a *agent) polled(now uint64) {
	if a.written%500 == 0 {
		a.records.Flush()
		a.tracer.Quiet(now, func(trace.Window) {})
	}
}

// event lays out an event as the kernel programs write it.
func event[E any](b *testing.B, kind probe.Kind, fill func(*E)) *probe.Event {
	b.Helper()
	raw := make([]uint64, unsafe.Sizeof(probe.IOEvent{})/8)
	fill((*E)(unsafe.Pointer(&raw[0])))
	common := (*probe.ThreadEvent)(unsafe.Pointer(&raw[0]))
	common.Event.Kind, common.Event.Pid, common.Event.Tid = uint32(kind), pid, tid
	e, ok := probe.Decode(unsafe.Slice((*byte)(unsafe.Pointer(&raw[0])), 8*len(raw)))
	if !ok {
		b.Fatalf("an event of kind %d is refused", kind)
	}
	return &e
}

func transferEvent(b *testing.B, kind probe.Kind, what string, flags uint32, g uint64) *probe.Event {
	return event(b, kind, func(io *probe.IOEvent) {
		io.Length, io.Head, io.Goroutine, io.Flags = int64(len(what)), uint32(copy(io.Data[:], what)), g, flags|probe.Sampled
	})
}

func openEvent(b *testing.B) *probe.Event {
	return event(b, probe.KindOpen, func(c *probe.ConnEvent) {
		c.Family, c.LocalPort, c.RemotePort = unix.AF_INET, 8000, 50000
		c.Local, c.Remote = [16]byte{127, 0, 0, 1}, [16]byte{127, 0, 0, 1}
	})
}

// BenchmarkRequest is what the agent does for a request that is too short to be sampled: from the events of two transfers
// on a connection that is kept to a line in the log.
func BenchmarkRequest(b *testing.B) {
	a := benchAgent(b)
	open := openEvent(b)
	for open.Conn().Connection = range uint64(connections) {
		a.happens(open, 0)
	}
	received, sent := transferEvent(b, probe.KindRecv, head, probe.Begins, 7), transferEvent(b, probe.KindSend, answer, 0, 7)
	now := uint64(1)
	for b.Loop() {
		received.IO().Connection, received.IO().Request = now%connections, now
		sent.IO().Connection, sent.IO().Request = now%connections, now
		a.happens(received, now)
		a.happens(sent, now+30_000)
		a.polled(now)
		now += 100_001
	}
}

// BenchmarkConnection is the same for a connection that carries one request, answered in two pieces by a thread.
func BenchmarkConnection(b *testing.B) {
	a := benchAgent(b)
	open, closed := openEvent(b), event(b, probe.KindClose, func(*probe.ConnEvent) {})
	received := transferEvent(b, probe.KindRecv, head, probe.Begins, 0)
	begun, sent := transferEvent(b, probe.KindSend, answer[:len(answer)-6], 0, 0), transferEvent(b, probe.KindSend, answer[len(answer)-6:], 0, 0)
	now := uint64(1)
	for b.Loop() {
		for _, e := range []*probe.Event{received, begun, sent} {
			e.IO().Connection, e.IO().Request = now, now
		}
		open.Conn().Connection, closed.Conn().Connection = now, now
		a.happens(open, now)
		a.happens(received, now)
		a.happens(begun, now+100_000)
		a.happens(sent, now+110_000)
		a.happens(closed, now+120_000)
		a.polled(now)
		now += 200_000
	}
}
