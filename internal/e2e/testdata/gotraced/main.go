// Command gotraced has handlers that wait in every way that Go's tracer tells. Their functions tell how long they took in
// the log, as lines of "truth", trace ID and JSON. GET /waits tells what the tracer saw. Its other files are goservice's,
// by an overlay.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/trace"
	"strings"
	"sync"
	"time"
)

const brief = 8 * time.Millisecond

// request is one that is served.
type request struct {
	answer http.ResponseWriter
	asked  *http.Request
	truth  map[string]float64 // seconds by function
}

func (r *request) part(name string, work func()) {
	start := time.Now()
	work()
	r.truth[name] += time.Since(start).Seconds()
}

// traced serves a view, whose goroutine the tracer tells by the request's trace ID.
func traced(view func(r *request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := strings.Cut(r.Header.Get("X-APM-TRACER"), ":")
		q := &request{w, r, map[string]float64{}}
		trace.Log(context.Background(), "begin", id)
		view(q)
		trace.Log(context.Background(), "end", id)
		text, err := json.Marshal(q.truth)
		if err != nil {
			panic(err)
		}
		log.Printf("truth %s %s", id, text)
	}
}

// views whose work is a function of the same name.
var functions = map[string]func(){
	"doze": doze, "receive": receive, "send": send, "choose": choose, "acquire": acquire, "ask": ask, "fan": fan,
	"readLock": readLock, "condition": condition, "tick": tick, "expire": expire, "readParts": readParts, "borrow": borrow,
	"instantiate": instantiate, "deferred": deferred, "recovers": recovers,
}

// others do more than one thing.
var others = map[string]func(r *request){
	"stream": func(r *request) {
		for range 5 {
			r.part("nap", nap)
			io.WriteString(r.answer, "part\n")
			r.answer.(http.Flusher).Flush()
		}
	},
	"headFirst": func(r *request) { // as answers that tell of events do
		r.answer.(http.Flusher).Flush()
		r.part("doze", doze)
		io.WriteString(r.answer, "part\n")
	},
	"flushed": func(r *request) { // at once
		r.answer.(http.Flusher).Flush()
		io.WriteString(r.answer, "part\n")
		r.answer.(http.Flusher).Flush()
		r.part("doze", doze)
	},
	"alternate": func(r *request) {
		for range 4 {
			r.part("calculate", calculate)
			r.part("nap", nap)
		}
	},
	"upload":   func(r *request) { r.part("readBody", func() { readBody(r.asked.Body) }) },
	"download": func(r *request) { r.part("writeBody", func() { writeBody(r.answer) }) },
	"proxy":    func(r *request) { r.part("passOn", func() { passOn(r) }) },
}

//go:noinline
func nap() { time.Sleep(brief) }

//go:noinline
func readLock() {
	var lock sync.RWMutex
	lock.Lock()
	later(lock.Unlock)
	lock.RLock()
}

//go:noinline
func condition() {
	var lock sync.Mutex
	met, condition := false, sync.NewCond(&lock)
	later(func() {
		lock.Lock()
		defer lock.Unlock()
		met = true
		condition.Broadcast()
	})
	lock.Lock()
	for !met {
		condition.Wait()
	}
	lock.Unlock()
}

//go:noinline
func tick() {
	ticker := time.NewTicker(brief)
	defer ticker.Stop()
	for range 4 {
		<-ticker.C
	}
}

//go:noinline
func expire() {
	ctx, cancel := context.WithTimeout(context.Background(), pause)
	defer cancel()
	<-ctx.Done()
}

//go:noinline
func readParts() {
	r, w := io.Pipe()
	go func() {
		for range 3 {
			nap()
			io.WriteString(w, "x")
		}
		w.Close()
	}()
	io.ReadAll(r)
}

// borrow has to wait for one of a pool, as of connections to a database.
//
//go:noinline
func borrow() {
	pool := make(chan int, 1)
	later(func() { pool <- 1 })
	one := <-pool
	nap()
	pool <- one
}

//go:noinline
func calculate() { crunch(brief) }

//go:noinline
func instantiate() { generic(brief) }

//go:noinline
func generic[T ~int64](d T) {
	time.Sleep(time.Duration(d))
	crunch(time.Duration(d))
}

//go:noinline
func deferred() {
	defer nap()
	nap()
}

//go:noinline
func recovers() {
	defer func() {
		recover()
		nap()
	}()
	nap()
	panic("on purpose")
}

//go:noinline
func readBody(body io.Reader) { io.Copy(io.Discard, body) }

//go:noinline
func writeBody(w io.Writer) { w.Write(make([]byte, 16<<20)) }

var proxy = newProxy()

//go:noinline
func passOn(r *request) { proxy.ServeHTTP(r.answer, r.asked) }

func main() {
	for name, work := range functions {
		http.HandleFunc("/"+name, traced(func(r *request) { r.part(name, work) }))
	}
	for name, view := range others {
		http.HandleFunc("/"+name, traced(view))
	}
	http.Handle("/limited", http.TimeoutHandler(traced(func(r *request) { r.part("doze", doze) }), time.Minute, ""))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	var events bytes.Buffer
	if err := trace.Start(&events); err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/waits", func(w http.ResponseWriter, r *http.Request) {
		trace.Stop()
		waits, err := waitsOf(&events)
		if err != nil {
			panic(err)
		}
		json.NewEncoder(w).Encode(waits)
	})
	log.Printf("listening on %s", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
