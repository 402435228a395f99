// Package emit writes records: the JSON that users' pipelines parse (docs/protocol.schema.json) and the log that the
// lines go to.
package emit

import (
	"net/netip"

	"apm-ebpf/internal/filter"
)

// Record is what is told about one HTTP request. Text may hold anything that a client or a target sent; it is made
// valid UTF-8 and escaped when it is written. Text that is empty and numbers that are 0 are absent from the record
// where the protocol lets them be, except BytesIn and BytesOut.
type Record struct {
	ProcName string
	Services string // as made by Services
	Protocol string
	Endpoint string // as made by Endpoint
	TraceID  string

	Start    uint64 // nanoseconds since the Unix epoch at which the first byte was read
	Duration int64  // nanoseconds from there to the last byte written

	Profile *Profile // nil where the request was not sampled

	Method      string
	Host        string
	Status      int
	Client      netip.AddrPort // not valid where not known
	PID, TID    int
	Runtime     string
	ClientTime  string
	TraceParent string
	BytesIn     int64 // negative where not known
	BytesOut    int64 // negative where not known

	Blocked    *Blocked // nil where not known
	Lost       uint64
	Incomplete Incomplete
}

// Profile is how the time of a request was spent.
type Profile struct {
	CPUTime     int64 // nanoseconds
	SampleCount int
	Program     string
	Mapper      filter.Mapper   // which made Frames; the zero value stands for filter.List
	Frames      []*filter.Frame // the result of Mapper.Map
}

// Reason is why a lane was not on a CPU.
type Reason uint8

const (
	Sleep Reason = iota
	Socket
	Poll
	Lock
	GIL
	Await
	Chan
	Disk
	Pipe
	Child
	RunQueue
	Other
	reasons // how many there are
)

var reasonNames = [reasons]string{
	"sleep", "socket", "poll", "lock", "gil", "await", "chan", "disk", "pipe", "child", "runqueue", "other",
}

// String returns the reason's key in the record.
func (r Reason) String() string { return reasonNames[r] }

// Blocked is the time that the owner's lane was not on a CPU, in nanoseconds by Reason.
type Blocked [reasons]int64

// Incomplete is the set of reasons why a record tells less than the whole.
type Incomplete uint16

const (
	OwnerUndecided Incomplete = 1 << iota // which lane served the request could not be decided
	StackTruncated
	PrecisionLowered // to stay within a budget
	EventsLost
	NoResponse
	ClientClosed
	Upgraded
	TargetExited
	AgentStopped
)

var incompleteNames = [...]string{
	"owner", "stack_truncated", "precision", "events_lost", "no_response", "client_closed", "upgraded",
	"target_exited", "agent_stopped",
}
