// Command gowork has goroutines work as handlers do, and tells how long each of their functions took.
//
// It prints the numbers of the goroutines, one a line, then "ready", and works when it reads a line. Then it prints of each
// a line of JSON: its number and, by function, when it began and ended (CLOCK_MONOTONIC, ns).
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const handlers = 20

type span struct{ From, To uint64 }

type handler struct {
	ID    uint64
	Spans map[string]span
}

func now() uint64 {
	const monotonic = 1
	var t syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&t)), 0)
	return uint64(t.Nano())
}

// number is that of the goroutine which calls it.
func number() (n uint64) {
	buf := make([]byte, 64)
	fmt.Sscanf(string(buf[:runtime.Stack(buf, false)]), "goroutine %d ", &n)
	return n
}

func (h *handler) measure(name string, f func(int), i int) {
	from := now()
	f(i)
	h.Spans[name] = span{from, now()}
}

//go:noinline
func (h *handler) serve(i int) {
	h.measure("main.sleeps", sleeps, i)
	h.measure("main.receives", receives, i)
	h.measure("main.locks", locks, i)
	h.measure("main.fans", fans, i)
	h.measure("main.sleepsAgain", sleepsAgain, i)
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

//go:noinline
func sleeps(i int) { time.Sleep(ms(20 + i)) }

//go:noinline
func sleepsAgain(i int) { time.Sleep(ms(15)) }

//go:noinline
func receives(i int) {
	c := make(chan int)
	time.AfterFunc(ms(30-i), func() { c <- 1 })
	<-c
}

//go:noinline
func locks(i int) {
	var m sync.Mutex
	m.Lock()
	time.AfterFunc(ms(25), m.Unlock)
	m.Lock()
}

//go:noinline
func fans(i int) {
	var all sync.WaitGroup
	for n := 0; n < 5; n++ {
		all.Add(1)
		go child(&all)
	}
	all.Wait()
}

//go:noinline
func child(all *sync.WaitGroup) {
	time.Sleep(ms(20))
	all.Done()
}

func main() {
	var begun, done sync.WaitGroup
	work := make(chan bool)
	made := make([]handler, handlers)
	for i := range made {
		begun.Add(1)
		done.Add(1)
		go func(h *handler, i int) {
			h.ID, h.Spans = number(), map[string]span{}
			begun.Done()
			<-work
			h.measure("main.(*handler).serve", h.serve, i)
			done.Done()
		}(&made[i], i)
	}
	begun.Wait()
	for i := range made {
		fmt.Println(made[i].ID)
	}
	fmt.Println("ready")
	var line string
	fmt.Scanln(&line)
	close(work)
	done.Wait()
	for i := range made {
		json.NewEncoder(os.Stdout).Encode(&made[i])
	}
	fmt.Scanln(&line)
	http.ListenAndServe("", nil) // programs without a server are refused
}
