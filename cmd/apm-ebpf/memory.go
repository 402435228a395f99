package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"github.com/rs/zerolog"

	"apm-ebpf/internal/probe"
)

// leastMemory is the limit of Go's memory where little is in use, bytes: the collector works harder rather than the agent
// grow. memoryBeside is what Go takes beside the heap, with fragments.
const (
	leastMemory  = 40 << 20
	memoryBeside = 10 << 20
)

// gauge is garbage as soon as it is made, so that its finalizer runs after the next collection.
type gauge struct{ live []metrics.Sample }

// limitMemory sets the limit of Go's memory, now and after each collection. It goes up with what is in use, as for a
// service of a hundred processes: near a fixed one the collector would take half of all CPUs for nothing.
func limitMemory() {
	(&gauge{live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}).limit()
}

func (g *gauge) limit() {
	metrics.Read(g.live)
	debug.SetMemoryLimit(memoryFor(int64(g.live[0].Value.Uint64())))
	runtime.SetFinalizer(&gauge{live: g.live}, (*gauge).limit)
}

// warnOfMemory tells of a limit that the agent may go over, as it would be killed without a word.
func warnOfMemory(log zerolog.Logger) {
	if limit, file := probe.MemoryLimit("/"); limit > 0 && limit < probe.MemoryNeeded {
		log.Warn().Uint64("limit", limit).Str("file", file).Int("needed", probe.MemoryNeeded).
			Msg("the agent may be killed: its container, or control group, has less memory than it needs. Give it a higher limit")
	}
}

// memoryFor gives the limit of Go's memory, bytes, while so much of the heap is in use: half as much again.
func memoryFor(live int64) int64 {
	return max(leastMemory, live+live/2+memoryBeside)
}
