package main

import (
	"io"
	"strings"

	"golang.org/x/exp/trace"
)

// waits are seconds by function of package main and by what the tracer says it waited for, "<function> <reason>".
type waits map[string]float64

// goroutine is one that the tracer tells of.
type goroutine struct {
	since trace.Time
	waits string           // in which function and for what, empty if it does not
	serve map[string]waits // by trace ID
}

// passes takes the time up to now.
func (g *goroutine) passes(now trace.Time) {
	for _, waits := range g.serve {
		if g.waits != "" {
			waits[g.waits] += now.Sub(g.since).Seconds()
		}
	}
	g.since = now
}

// waitsOf gives for each trace ID what the goroutine that served it waited for.
func waitsOf(events io.Reader) (map[string]waits, error) {
	reader, err := trace.NewReader(events)
	if err != nil {
		return nil, err
	}
	all, known := map[string]waits{}, map[trace.GoID]*goroutine{}
	of := func(id trace.GoID, now trace.Time) *goroutine {
		if known[id] == nil {
			known[id] = &goroutine{serve: map[string]waits{}}
		}
		known[id].passes(now)
		return known[id]
	}
	for {
		event, err := reader.ReadEvent()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		switch event.Kind() {
		case trace.EventLog:
			g, id := of(event.Goroutine(), event.Time()), event.Log().Message
			if event.Log().Category == "begin" {
				all[id] = waits{}
				g.serve[id] = all[id]
			} else {
				delete(g.serve, id)
			}
		case trace.EventStateTransition:
			change := event.StateTransition()
			if change.Resource.Kind != trace.ResourceGoroutine {
				continue
			}
			g := of(change.Resource.Goroutine(), event.Time())
			g.waits = ""
			if _, to := change.Goroutine(); to == trace.GoWaiting {
				g.waits = function(change.Stack) + " " + change.Reason
			}
		}
	}
}

// function is the innermost one of package main.
func function(stack trace.Stack) string {
	for f := range stack.Frames() {
		if strings.HasPrefix(f.Func, "main.") {
			return f.Func
		}
	}
	return ""
}
