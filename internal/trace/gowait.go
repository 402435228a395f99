package trace

import "apm-ebpf/internal/symbol"

// goWaits are what goroutines wait for, in Go's own words (waitReasonStrings in Go src/runtime/runtime2.go) of all
// versions known, the most usual first, and the general reason that each is a kind of. What is not here is Blocked.
var goWaits = [...]struct {
	leaf symbol.Func
	like Reason
}{
	{symbol.Func{Name: "[IO wait]"}, SocketRecv},
	{symbol.Func{Name: "[sleep]"}, Sleep},
	{symbol.Func{Name: "[chan receive]"}, Chan},
	{symbol.Func{Name: "[chan send]"}, Chan},
	{symbol.Func{Name: "[select]"}, Chan},
	{symbol.Func{Name: "[chan receive (nil chan)]"}, Chan},
	{symbol.Func{Name: "[chan send (nil chan)]"}, Chan},
	{symbol.Func{Name: "[select (no cases)]"}, Chan},
	{symbol.Func{Name: "[chan receive (durable)]"}, Chan},
	{symbol.Func{Name: "[chan send (durable)]"}, Chan},
	{symbol.Func{Name: "[select (durable)]"}, Chan},
	{symbol.Func{Name: "[coroutine]"}, Chan},
	{symbol.Func{Name: "[semacquire]"}, Lock},
	{symbol.Func{Name: "[sync.Cond.Wait]"}, Lock},
	{symbol.Func{Name: "[sync.Mutex.Lock]"}, Lock},
	{symbol.Func{Name: "[sync.RWMutex.RLock]"}, Lock},
	{symbol.Func{Name: "[sync.RWMutex.Lock]"}, Lock},
	{symbol.Func{Name: "[sync.WaitGroup.Wait]"}, Lock},
	{symbol.Func{Name: "[sync.WaitGroup.Wait (durable)]"}, Lock},
	{symbol.Func{Name: "[GC assist marking]"}, Blocked},
	{symbol.Func{Name: "[GC assist wait]"}, Blocked},
	{symbol.Func{Name: "[GC sweep wait]"}, Blocked},
	{symbol.Func{Name: "[GC weak to strong wait]"}, Blocked},
	{symbol.Func{Name: "[garbage collection]"}, Blocked},
	{symbol.Func{Name: "[garbage collection scan]"}, Blocked},
	{symbol.Func{Name: "[wait for GC cycle]"}, Blocked},
	{symbol.Func{Name: "[stopping the world]"}, Blocked},
	{symbol.Func{Name: "[preempted]"}, Blocked},
	{symbol.Func{Name: "[panicwait]"}, Blocked},
	{symbol.Func{Name: "[dumping heap]"}, Blocked},
	{symbol.Func{Name: "[debug call]"}, Blocked},
}

// goReason gives the reason for which Go has these words.
func goReason(words string) Reason {
	for i := range goWaits {
		if leaf := goWaits[i].leaf.Name; leaf[1:len(leaf)-1] == words {
			return firstGo + Reason(i)
		}
	}
	return Blocked
}

// leaf is the frame that stands for the reason, nil for OnCPU.
func (r Reason) leaf() *symbol.Func {
	if r >= firstGo {
		return &goWaits[r-firstGo].leaf
	}
	return leaves[r]
}

// General gives the reason that this one is a kind of: a runtime may tell it in its own words.
func (r Reason) General() Reason {
	if r >= firstGo {
		return goWaits[r-firstGo].like
	}
	return r
}
