package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const pause = 30 * time.Millisecond

// crunch keeps a CPU busy.
//
//go:noinline
func crunch(d time.Duration) (sum int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for i := range [100]struct{}{} {
			sum += i * i
		}
	}
	return sum
}

// later does something after a while, for whoever waits for it.
func later(what func()) { time.AfterFunc(pause, what) }

//go:noinline
func doze() { time.Sleep(pause) }

//go:noinline
func compute() { crunch(25 * time.Millisecond) }

//go:noinline
func hurry() { crunch(3 * time.Millisecond) }

//go:noinline
func drowse() { time.Sleep(5 * time.Millisecond) }

//go:noinline
func receive() {
	c := make(chan int)
	later(func() { c <- 1 })
	<-c
}

//go:noinline
func send() {
	c := make(chan int)
	later(func() { <-c })
	c <- 1
}

//go:noinline
func choose() {
	a, b := make(chan int), make(chan int)
	later(func() { close(a) })
	select {
	case <-a:
	case <-b:
	}
}

//go:noinline
func acquire() {
	var lock sync.Mutex
	lock.Lock()
	later(lock.Unlock)
	lock.Lock()
}

// ask waits for a peer that takes its time.
//
//go:noinline
func ask() {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer peer.Close()
	go func() {
		conn, err := peer.Accept()
		if err == nil {
			time.Sleep(pause)
			io.WriteString(conn, "x")
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", peer.Addr().String())
	if err != nil {
		panic(err)
	}
	io.ReadAll(conn)
	conn.Close()
}

// readPipe waits in a system call.
//
//go:noinline
func readPipe() {
	var fds [2]int
	if err := pipe(&fds); err != nil {
		panic(err)
	}
	later(func() { writeTo(fds[1]) })
	readFrom(fds[0])
}

// fan has 20 goroutines work.
//
//go:noinline
func fan() {
	var group sync.WaitGroup
	for range [20]struct{}{} {
		group.Add(1)
		go func() {
			defer group.Done()
			branch()
		}()
	}
	group.Wait()
}

//go:noinline
func branch() { time.Sleep(pause) }

func outlive() { time.Sleep(10 * pause) }

// inlining computes in functions that the compiler puts into one another.
//
//go:noinline
func inlining() { outer(25 * time.Millisecond) }

func outer(d time.Duration) int { return inner(d) }

func inner(d time.Duration) int { return crunch(d) }

// grow has its goroutine's stack move several times.
//
//go:noinline
func grow() {
	const depth = 20000
	if got := deep(depth); got != depth*(depth+1)/2 {
		panic(got)
	}
}

// climb has it move with all of its frames seen.
//
//go:noinline
func climb() { deep(1500) }

//go:noinline
func deep(n int) int {
	var one [64]byte
	one[n%len(one)] = 1
	if n == 0 {
		return 0
	}
	return deep(n-1) + n*int(one[n%len(one)])
}

// sink works at the end of a deep recursion.
//
//go:noinline
func sink(depth int) int {
	if depth == 0 {
		compute()
		doze()
		return 0
	}
	return sink(depth-1) + 1
}

//go:noinline
func dive() { sink(600) }

// migrate has its goroutine go from thread to thread.
//
//go:noinline
func migrate() {
	for range [200]struct{}{} {
		runtime.LockOSThread()
		runtime.Gosched()
		runtime.UnlockOSThread()
		runtime.Gosched()
	}
}

// outliveClient goes on after its client has hung up.
func outliveClient(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	doze()
}

// relay passes a request for /relay/HOST:PORT/PATH on to a service, with the headers that name its trace.
func relay(w http.ResponseWriter, r *http.Request) {
	request, err := http.NewRequest("GET", "http://"+strings.TrimPrefix(r.URL.Path, "/relay/"), nil)
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"X-APM-TRACER", "traceparent"} {
		if value := r.Header.Get(name); value != "" {
			request.Header.Set(name, value)
		}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	io.Copy(w, answer.Body)
}

// pass passes a request for /pass/PATH on to the service itself, with the reverse proxy of the standard library, which has a
// timer flush the answer's head.
//
//go:noinline
func pass(w http.ResponseWriter, r *http.Request) {
	proxy := httputil.ReverseProxy{FlushInterval: -1, Director: func(out *http.Request) {
		out.URL.Scheme, out.URL.Host = "http", r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
		out.URL.Path = strings.TrimPrefix(out.URL.Path, "/pass")
	}}
	proxy.ServeHTTP(w, r)
}

// sized begins an answer of a length that it tells, and goes on with it later.
func sized(w http.ResponseWriter, _ *http.Request) {
	body := strings.Repeat("x", 10_000)
	w.Header().Set("Content-Length", strconv.Itoa(2*len(body)))
	io.WriteString(w, body)
	for range [5]struct{}{} {
		doze()
	}
	io.WriteString(w, body)
}

// page writes an answer line by line, of which each buffer that is full is sent.
func page(w http.ResponseWriter, _ *http.Request) {
	line := strings.Repeat("x", 100) + "\n"
	for range [2]struct{}{} {
		for range [200]struct{}{} {
			io.WriteString(w, line)
		}
		doze()
	}
}

// parts sends an answer in parts that are longer than any buffer.
func parts(w http.ResponseWriter, _ *http.Request) {
	part := strings.Repeat("x", 20_000)
	for range [2]struct{}{} {
		io.WriteString(w, part)
		w.(http.Flusher).Flush()
		doze()
	}
}

func stream(w http.ResponseWriter, r *http.Request) {
	for i := range [5]struct{}{} {
		fmt.Fprintf(w, "part %d\n", i)
		w.(http.Flusher).Flush()
		doze()
	}
}

func hijack(w http.ResponseWriter, r *http.Request) {
	conn, rest, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	rest.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	rest.Flush()
	io.Copy(conn, rest)
}

func serve(listener net.Listener) error {
	if len(os.Args) > 2 {
		return http.ServeTLS(listener, nil, os.Args[1], os.Args[2])
	}
	return http.Serve(listener, nil)
}
