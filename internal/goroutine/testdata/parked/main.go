// Command parked has goroutines that do one thing each, and tells what Go knows of them.
//
// It prints the name and the number of each goroutine, that of its "handler" last, which does what it reads, a line each,
// and prints "end":
//
//	dump    every goroutine's stack, as Go prints it
//	step    has the goroutine "steps" go on to its next wait
//	spin    starts one more that "spins"
//	call    starts one that "calls"
//	fan     starts goroutines as a handler does
//	end     has those return
//
// An argument tells how many goroutines there are to be besides.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

var (
	nothing = make(chan int)
	mutex   sync.Mutex
	rw      sync.RWMutex
	group   sync.WaitGroup
	cond    = sync.NewCond(&sync.Mutex{})
	print   sync.Mutex
	next    = make(chan int)
	sum     int
)

//go:noinline
func sleeps() { time.Sleep(time.Hour) }

//go:noinline
func receives() { <-nothing }

//go:noinline
func sends() { make(chan int) <- 1 }

//go:noinline
func selects() {
	select {
	case <-nothing:
	case <-time.After(time.Hour):
	}
}

//go:noinline
func selectsNothing() { select {} }

//go:noinline
func locks() { mutex.Lock() }

//go:noinline
func readLocks() { rw.RLock() }

//go:noinline
func waits() { group.Wait() }

//go:noinline
func condWaits() {
	cond.L.Lock()
	cond.Wait()
}

//go:noinline
func reads() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, nil) // programs without a server are refused
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	conn.Read(make([]byte, 1))
}

//go:noinline
func blocks() {
	var fds [2]int
	if err := syscall.Pipe(fds[:]); err != nil {
		panic(err)
	}
	syscall.Read(fds[0], make([]byte, 1))
}

//go:noinline
func deep() { sink(down(100)) }

//go:noinline
func deeper() { sink(down(1000)) }

//go:noinline
func down(n int) int {
	var room [128]byte
	if n == 0 {
		<-nothing
		return 0
	}
	room[n%128] = byte(down(n - 1))
	return int(room[n%7]) + n
}

//go:noinline
func sink(n int) { sum += n }

//go:noinline
func spins() {
	for {
		sum++
	}
}

//go:noinline
func calls() {
	for {
		called(sum)
	}
}

// called needs so much of the stack that it looks at its beginning whether there is so much.
//
//go:noinline
func called(n int) {
	var room [1024]byte
	room[n%1024] = 1
	sum += int(room[n%7])
}

//go:noinline
func steps() {
	for {
		<-next
		stepSleeps()
	}
}

//go:noinline
func stepSleeps() { <-next }

// number is that of the goroutine which calls it.
func number() (n uint64) {
	buf := make([]byte, 64)
	fmt.Sscanf(string(buf[:runtime.Stack(buf, false)]), "goroutine %d ", &n)
	return n
}

func tell(name string) {
	print.Lock()
	defer print.Unlock()
	fmt.Println(name, number())
}

func start(name string, f func()) {
	started := make(chan bool)
	go func() {
		tell(name)
		close(started)
		f()
	}()
	<-started
}

// fan starts as many goroutines as a handler may, each of which starts another.
func fan(end chan bool) {
	var all sync.WaitGroup
	for i := 0; i < 20; i++ {
		all.Add(2)
		go child(&all, end)
	}
	all.Wait()
}

func child(all *sync.WaitGroup, end chan bool) {
	tell("child")
	go grandchild(all, end)
	all.Done()
	<-end
}

func grandchild(all *sync.WaitGroup, end chan bool) {
	tell("grandchild")
	all.Done()
	<-end
}

// dump prints all stacks as a panic would.
func dump() {
	buf := make([]byte, 1<<20)
	os.Stdout.Write(buf[:runtime.Stack(buf, true)])
}

// serve does what it reads, as a server's goroutine does.
func serve() {
	end := make(chan bool)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "dump":
			dump()
		case "step":
			next <- 1
		case "spin":
			start("spins", spins)
		case "call":
			start("calls", calls)
		case "fan":
			fan(end)
		case "end":
			close(end)
			end = make(chan bool)
		}
		fmt.Println("end")
	}
	os.Exit(0)
}

func main() {
	mutex.Lock()
	rw.Lock()
	group.Add(1)
	for name, f := range map[string]func(){
		"sleeps": sleeps, "receives": receives, "sends": sends, "selects": selects, "selectsNothing": selectsNothing,
		"locks": locks, "readLocks": readLocks, "waits": waits, "condWaits": condWaits, "reads": reads, "blocks": blocks,
		"deep": deep, "deeper": deeper, "spins": spins, "steps": steps,
	} {
		start(name, f)
	}
	if len(os.Args) > 1 {
		more, _ := strconv.Atoi(os.Args[1])
		for i := 0; i < more; i++ {
			start("more", receives)
		}
	}
	start("handler", serve)
	<-nothing
}
