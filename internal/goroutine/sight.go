package goroutine

// State tells what a goroutine does.
type State uint8

const (
	Running  State = iota // on a thread, its stack not readable from outside
	Runnable              // ready, without a thread
	Waiting
	Syscall // in a system call, or in C
	Dead    // its function has returned
)

func (s State) String() string {
	return [...]string{"running", "runnable", "waiting", "syscall", "dead"}[s]
}

// Sight is what a goroutine was seen doing. It is told when a goroutine is first seen and from then on when it has
// changed; what was told last is right up to After.
type Sight struct {
	GoID, G uint64
	Root    uint64 // number of the watched goroutine that this is or descends from
	Parent  uint64 // number of the one that started it, told at first sight of it; else 0

	Time  uint64 // CLOCK_MONOTONIC, ns
	After uint64 // when it was last seen as it was told before, or was not there yet; 0: never looked

	State State
	Why   string // Waiting: for what, as Go prints it in brackets: "chan receive"
	Seq   uint8  // trackingSeq: one more each time it leaves off running, modulo 256
	Left  uint8  // how often it left off running since it was told last or watched, modulo 256, or NotKnown

	// PCs are return addresses, the innermost function's first. Valid until Look goes on. There are none of one that
	// runs, or has not begun yet, or stands where it was told to stand before.
	PCs       []uint64
	Gap       int  // so many come before some that are missing, 0: none are
	Truncated bool // the outermost functions are missing

	GoPC    uint64 // return address of the go statement that started it, 0: this is the root
	StartPC uint64 // entry of its function
}

// NotKnown is Sight.Left where nothing is known of before.
const NotKnown = 255

// Bits and numbers of runtime.g.atomicstatus (Go src/runtime/runtime2.go), which are the same in all versions known.
const (
	scanBit = 0x1000

	gRunnable  = 1
	gRunning   = 2
	gSyscall   = 3
	gWaiting   = 4
	gDead      = 6
	gPreempted = 9
	gLeaked    = 10 // 1.26 and later: waits for what nobody can give
	gDeadExtra = 11 // 1.26 and later
)

// stateOf gives the state of a status; false for those that last as long as it takes to copy a stack.
func stateOf(status uint32) (State, bool) {
	switch status &^ scanBit {
	case gRunnable, gPreempted:
		return Runnable, true
	case gRunning:
		return Running, true
	case gSyscall:
		return Syscall, true
	case gWaiting, gLeaked:
		return Waiting, true
	case gDead, gDeadExtra:
		return Dead, true
	}
	return 0, false
}
