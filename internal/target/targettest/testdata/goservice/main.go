// The service tells what its own runtime makes of program counters: of those that it is asked for, and of the stacks of
// some calls. Each answer is a line of JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"

	"example.com/shop/v2/internal/store"
)

type frame struct {
	PC       uintptr
	Function string
	File     string
	Line     int
}

func main() {
	go http.ListenAndServe("127.0.0.1:0", http.HandlerFunc(serve))
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	fmt.Println("ready", runtime.Version())
	for in.Scan() {
		command, rest, _ := strings.Cut(in.Text(), " ")
		switch command {
		case "at":
			answer(at(strings.Fields(rest)))
		case "stacks":
			answer(stacks())
		}
	}
}

func answer(value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func serve(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") }

// at tells where the program counters are.
func at(list []string) []frame {
	var out []frame
	for _, text := range list {
		pc, _ := strconv.ParseUint(text, 16, 64)
		found, _ := runtime.CallersFrames([]uintptr{uintptr(pc) + 1}).Next()
		out = append(out, frame{uintptr(pc), found.Function, found.File, found.Line})
	}
	return out
}

// stacks gives stacks as the runtime writes them.
func stacks() [][]frame {
	var out [][]frame
	record := func() {
		pcs := make([]uintptr, 64)
		pcs = pcs[:runtime.Callers(2, pcs)]
		var stack []frame
		frames := runtime.CallersFrames(pcs)
		for i := range pcs {
			f, more := frames.Next()
			stack = append(stack, frame{pcs[i], f.Function, f.File, f.Line})
			if !more {
				break
			}
		}
		out = append(out, stack)
	}
	outer(record)
	store.Each([]string{"a"}, func(string) { record() })
	(&store.Shelf[int]{Seen: record}).Put(1)
	put := (&store.Shelf[string]{Seen: record}).Put
	put("b")
	var s store.Putter = wrapped{&store.Shelf[int]{Seen: record}}
	s.Put(2)
	deferred(record)
	done := make(chan bool)
	go func() {
		defer close(done)
		record()
	}()
	<-done
	finished := make(chan bool)
	go spawned(record, finished)
	<-finished
	return out
}

func spawned(record func(), finished chan bool) {
	defer close(finished)
	middle(record)
}

// wrapped makes the compiler write a method that calls the embedded one.
type wrapped struct{ *store.Shelf[int] }

//go:noinline
func outer(record func()) { middle(record) }

func middle(record func()) { inner(record, 1) }

func inner(record func(), n int) {
	if n > 0 {
		record()
	}
}

//go:noinline
func deferred(record func()) {
	defer inner(record, 2)
	defer func() {
		recover()
		record()
	}()
	panic("as asked")
}
