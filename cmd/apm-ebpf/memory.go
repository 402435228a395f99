package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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

// memoryFor gives the limit of Go's memory, bytes, while so much of the heap is in use: half as much again.
func memoryFor(live int64) int64 {
	return max(leastMemory, live+live/2+memoryBeside)
}
