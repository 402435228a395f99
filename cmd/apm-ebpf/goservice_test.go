package main

import (
	"math"
	"net/http/httptest"
	"os"
	"reflect"
	"runtime"
	"testing"

	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
)

func TestBeginsRequest(t *testing.T) {
	for head, want := range map[string]bool{
		"GET / HTTP/1.1\r\n":          true,
		"ET / HTTP/1.1\r\n":           true,
		"OPTIONS * HTTP/1.1\r\n":      true,
		"PROPPATCH /a HTTP/1.1\r\n":   true,
		"4\r\nWORD\r\n":               false,
		"some text":                   false,
		"THIS-IS-NONE / HTTP/1.1\r\n": false,
		"POST":                        false,
		"":                            false,
	} {
		if got := beginsRequest([]byte(head)); got != want {
			t.Errorf("%q begins a request: %v, want %v", head, got, want)
		}
	}
}

func TestLeftOf(t *testing.T) {
	for _, test := range []struct {
		head    string
		written int64
		want    int64
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 40 + 60, 40},
		{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 40 + 100, 0},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 4096, 0},
		{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-", 4096, 0},
		{"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", 100, math.MaxInt64},
		{"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 41, 0},
	} {
		if got := leftOf([]byte(test.head), test.written); got != test.want {
			t.Errorf("%q, %d written: %d left, want %d", test.head, test.written, got, test.want)
		}
	}
}

// ownService has the names of the test's own functions.
func ownService(t *testing.T) *goService {
	t.Helper()
	httptest.NewServer(nil).Close() // what serves no HTTP is no target
	process, err := target.Inspect(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := symbol.NewGo(process)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(symbols.Close)
	return &goService{symbols: symbols}
}

// TestGoingOn finds where the runtime has a goroutine go on, which is near where goroutines end.
func TestGoingOn(t *testing.T) {
	s := ownService(t)
	var pcs [64]uintptr
	end := uint64(pcs[runtime.Callers(0, pcs[:])-1])
	const near = 64 << 10
	found := 0
	for pc := end - near; pc < end+near; pc += 16 {
		if s.isGoingOn([]uint64{pc, end}) {
			found++
		}
	}
	if found == 0 || found > 16 || s.isGoingOn([]uint64{end}) || s.isGoingOn(nil) {
		t.Errorf("found %d times", found)
	}
}

// TestFrameless has a stack taken where a function begins, of the test itself.
func TestFrameless(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("another architecture has the caller in a register there")
	}
	s := ownService(t)
	symbols := s.symbols
	caller := uint64(reflect.ValueOf(TestFrameless).Pointer())
	at := caller
	for symbols.SPDelta(at) == 0 {
		at++
	}
	const stack = 0xc000012340
	tests := []struct {
		name    string
		pc      uint64
		callers [2]uint64
		want    uint64
	}{
		{"at its first instruction", caller, [2]uint64{caller, stack}, caller},
		{"with the frame pointer pushed", at, [2]uint64{stack, caller}, caller},
		{"in the trap of a probe that is in place of that", at, [2]uint64{caller, stack}, caller},
	}
	for _, test := range tests {
		if got := s.frameless(test.pc, &test.callers); got != test.want {
			t.Errorf("%s: %#x", test.name, got)
		}
	}
}
