package main

import (
	"testing"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/trace"
)

// TestNameLost asks for the function of a code object of which nothing was told, before its end could be seen and after.
func TestNameLost(t *testing.T) {
	const code, another = 0x1000, 0x2000
	known := &symbol.Func{Name: "known"}
	s := &service{functions: map[uint64]*symbol.Func{code: known}, blindTo: 20}
	for _, at := range []uint64{19, 20} {
		s.at = at
		if got := s.function(code); got != known {
			t.Errorf("at %d it is %s, want %s", at, got.Name, known.Name)
		}
		if got := s.function(another); got != symbol.Unknown {
			t.Errorf("at %d another is %s, want %s", at, got.Name, symbol.Unknown.Name)
		}
	}
	if s.namesLost != 1 {
		t.Errorf("%d names are lost, want 1", s.namesLost)
	}
}

// TestMutex has threads wait on futexes as with glibc and as with musl.
func TestMutex(t *testing.T) {
	const wait, bitset, realtime = 0x80, 0x89, 0x100 // FUTEX_PRIVATE_FLAG with both
	on := func(op uint64, gil bool) trace.Wait {
		return trace.Wait{State: 1, Syscall: unix.SYS_FUTEX, Args: [2]uint64{0, op}, GIL: gil}
	}
	for name, test := range map[string]struct {
		gil  trace.Wait // how the interpreter lock is waited for
		then trace.Wait
		want bool
	}{
		"glibc, a mutex": {on(bitset, true), on(wait, false), true},
		"glibc, a queue": {on(bitset, true), on(bitset|realtime, false), false},
		"glibc, a sleep": {on(bitset, true), trace.Wait{State: 1, Syscall: unix.SYS_NANOSLEEP}, false},
		"musl":           {on(wait, true), on(wait, false), false},
	} {
		s := &service{}
		if s.isMutex(test.gil) {
			t.Errorf("%s: the interpreter lock is a mutex", name)
		}
		if got := s.isMutex(test.then); got != test.want {
			t.Errorf("%s: mutex %v, want %v", name, got, test.want)
		}
	}
}
