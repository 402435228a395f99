// The Go service of a test machine. Each view answers with what the functions below it took, by their own clock.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// truth is what functions took, seconds by name.
type truth map[string]float64

func main() {
	address := flag.String("listen", "127.0.0.1:8000", "")
	pair := flag.String("certificate", "", "file with a certificate and its key: serve TLS")
	write := flag.Bool("write-certificate", false, "write that file and end")
	flag.Parse()
	views := http.NewServeMux()
	for path, view := range map[string]func(truth){"/wait": wait, "/work": work, "/both": both, "/gather": gather} {
		views.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			t := truth{}
			view(t)
			if err := json.NewEncoder(w).Encode(t); err != nil {
				fmt.Fprintln(os.Stderr, "answer:", err)
			}
		})
	}
	var err error
	switch {
	case *write:
		err = writeCertificate(*pair)
	case *pair != "":
		err = http.ListenAndServeTLS(*address, *pair, *pair, views)
	default:
		err = http.ListenAndServe(*address, views)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (t truth) took(name string, begun time.Time) { t[name] = time.Since(begun).Seconds() }

func wait(t truth) { doze(t) }

func doze(t truth) {
	defer t.took("doze", time.Now())
	time.Sleep(200 * time.Millisecond)
}

func work(t truth) { toil(t) }

func toil(t truth) {
	defer t.took("toil", time.Now())
	spin(500 * time.Millisecond)
}

func both(t truth) {
	weigh(t)
	descend(60, t)
}

func weigh(t truth) {
	defer t.took("weigh", time.Now())
	spin(300 * time.Millisecond)
}

// descend sleeps below more frames than one call of the stack walk takes.
func descend(depth int, t truth) {
	if depth > 0 {
		descend(depth-1, t)
		return
	}
	linger(t)
}

func linger(t truth) {
	defer t.took("linger", time.Now())
	time.Sleep(150 * time.Millisecond)
}

// gather waits for a goroutine of its own.
func gather(t truth) {
	defer t.took("gather", time.Now())
	var done sync.WaitGroup
	done.Go(pick)
	done.Wait()
}

func pick() {
	time.Sleep(100 * time.Millisecond)
	spin(200 * time.Millisecond)
}

func spin(long time.Duration) {
	for begun := time.Now(); time.Since(begun) < long; {
	}
}
