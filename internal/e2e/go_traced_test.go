package e2e

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// goTraced starts testdata/gotraced.
func goTraced(t *testing.T) *Service {
	t.Helper()
	return startGo(t, buildModule(t, "gotraced", "go.mod"))
}

// tracerWords are those of Go's tracer for what Go tells of a goroutine that waits (traceBlockReasonStrings and
// waitReasonStrings in Go src/runtime).
var tracerWords = map[string]string{
	"[sleep]":               "sleep",
	"[chan receive]":        "chan receive",
	"[chan send]":           "chan send",
	"[select]":              "select",
	"[IO wait]":             "network",
	"[semacquire]":          "sync",
	"[sync.Mutex.Lock]":     "sync",
	"[sync.RWMutex.RLock]":  "sync",
	"[sync.RWMutex.Lock]":   "sync",
	"[sync.WaitGroup.Wait]": "sync",
	"[sync.Cond.Wait]":      "sync.(*Cond).Wait",
}

// waits gives seconds by "<innermost function of package main> <reason in the tracer's words>", of the own lane or, where
// the handler runs in another, of all.
func (f *Frame) waits(branches bool) map[string]float64 {
	seconds := map[string]float64{}
	f.walk(func(f *Frame, above []*Frame) {
		in := ""
		for _, a := range above {
			if a.branch() && !branches {
				return
			}
			if strings.HasPrefix(a.Function, "main.") {
				in = a.Function
			}
		}
		if words := tracerWords[f.Function]; words != "" {
			seconds[in+" "+words] += f.Time
		}
	})
	return seconds
}

// TestGoTraced compares trees with what Go's own tracer tells of the goroutines that serve, and with what the functions
// measured.
func TestGoTraced(t *testing.T) {
	prepared(t)
	s := goTraced(t)
	a := attach(t, s.PID, "-F", "1000")
	views := []string{
		"doze", "receive", "send", "choose", "acquire", "ask", "fan", "readLock", "condition", "tick", "expire", "readParts",
		"borrow", "instantiate", "deferred", "recovers", "stream", "flushed", "alternate", "proxy", "limited", "upload", "download",
		"headFirst",
	}
	const rounds = 3
	sent := map[string]string{}
	for range rounds {
		for _, view := range views {
			sent[askSlowly(t, s, view)] = view
		}
	}
	records := byID(t, a.exactly(t, len(sent)))
	var waits map[string]map[string]float64
	if err := json.Unmarshal([]byte(s.get(t, "/waits").Text), &waits); err != nil {
		t.Fatal(err)
	}
	truth := loggedTruth(t, s, len(sent))
	var times, reasons comparison
	for id, view := range sent {
		r := records[id]
		if r == nil {
			t.Fatalf("no record of %s", view)
		}
		checkSums(t, r)
		precise(r)
		tree := r.tree(t)
		if view == "limited" { // by a goroutine that the server's starts
			seconds := 0.0
			if doze := tree.find("doze"); doze != nil {
				seconds = doze.Time
			}
			times.add("limited doze", seconds, truth[id]["doze"])
		} else {
			compareTimes(t, &times, r, truth[id])
		}
		told := tree.waits(view == "limited")
		for what, seconds := range waits[id] {
			reasons.add(view+": "+what, told[what], seconds)
		}
	}
	times.check(t)
	reasons.check(t)
}

// askSlowly asks for a view with a body that takes its time, reads the answer so, and gives the trace ID.
func askSlowly(t *testing.T, s *Service, view string) (id string) {
	t.Helper()
	c := s.dial(t)
	defer c.Close()
	const pause = 10 * time.Millisecond
	method, body := "GET", ""
	if view == "upload" {
		method, body = "POST", strings.Repeat("x", 1<<20)
	}
	head, id := c.head(method, "/"+view, "Connection: close\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n")
	c.send(t, head)
	for ; len(body) > 0; body = body[1<<18:] {
		time.Sleep(pause)
		c.send(t, body[:1<<18])
	}
	if view == "download" {
		time.Sleep(3 * pause)
	}
	if a := c.answer(t, method); a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", view, a.Status)
	}
	return id
}

// loggedTruth gives what functions measured, in seconds by trace ID and name.
func loggedTruth(t *testing.T, s *Service, requests int) map[string]map[string]float64 {
	t.Helper()
	truth := map[string]map[string]float64{}
	for _, line := range s.Log.wait(t, `truth (\S+ .*)`, requests) {
		id, text, _ := strings.Cut(line, " ")
		var seconds map[string]float64
		if err := json.Unmarshal([]byte(text), &seconds); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		truth[id] = seconds
	}
	return truth
}
