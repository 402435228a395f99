package trace

import "apm-ebpf/internal/symbol"

// Reason tells what a lane did during a slice: run, or wait for something.
type Reason uint8

const (
	OnCPU Reason = iota
	NotSampled
	Unknown // running, with a stack that could not be read
	Sleep
	SocketRecv
	SocketSend
	SocketConnect
	SocketAccept
	Poll
	Lock
	GIL
	Disk
	Pipe
	Child
	Await
	RunQueue
	Blocked
	Chan // only as a general reason
	firstGo
	reasons = firstGo + Reason(len(goWaits))
)

// leaves are the frames in square brackets that stand for a reason; OnCPU has none, and goWaits have their own.
var leaves = [firstGo]*symbol.Func{
	NotSampled:    {Name: "[not sampled]"},
	Unknown:       {Name: "[unknown]"},
	Sleep:         {Name: "[sleep]"},
	SocketRecv:    {Name: "[socket recv]"},
	SocketSend:    {Name: "[socket send]"},
	SocketConnect: {Name: "[socket connect]"},
	SocketAccept:  {Name: "[socket accept]"},
	Poll:          {Name: "[poll]"},
	Lock:          {Name: "[lock]"},
	GIL:           {Name: "[gil]"},
	Disk:          {Name: "[disk]"},
	Pipe:          {Name: "[pipe]"},
	Child:         {Name: "[child]"},
	Await:         {Name: "[await]"},
	RunQueue:      {Name: "[runqueue]"},
	Blocked:       {Name: "[blocked]"},
}

// Truncated stands for the frames that are missing in the middle of a deep stack.
var Truncated = &symbol.Func{Name: "[truncated]"}

var request = &symbol.Func{Name: "[request]"}

// standsForNone tells a frame in square brackets, which has no source of its own.
func standsForNone(fn *symbol.Func) bool {
	return fn.File == "" && len(fn.Name) > 0 && fn.Name[0] == '['
}

// Waits are the wall nanoseconds of a lane by reason, OnCPU and NotSampled among them.
type Waits [reasons]int64
