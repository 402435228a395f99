// Package doctor tells what this machine offers the agent and what it lacks, and what to do about that.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
)

// Grade says what a finding means.
type Grade string

const (
	OK   Grade = "ok"
	Warn Grade = "warn" // profiling works, with less
	Fail Grade = "fail" // it does not
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	Grade  Grade  `json:"grade"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
}

// Report is everything that was looked at, in the order in which things have to be put right.
type Report struct {
	Works  bool    `json:"works"`
	Checks []Check `json:"checks"`
}

func (r *Report) add(checks ...Check) {
	for _, c := range checks {
		if c.Grade == Fail {
			r.Works = false
		}
		r.Checks = append(r.Checks, c)
	}
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	width := 0
	for _, c := range r.Checks {
		width = max(width, len(c.Name))
	}
	for _, c := range r.Checks {
		if _, err := fmt.Fprintf(w, "%-4s  %-*s  %s\n", c.Grade, width, c.Name, c.Found); err != nil {
			return err
		}
		if c.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "      %*s  -> %s\n", width, "", c.Remedy); err != nil {
			return err
		}
	}
	verdict := "profiling works here"
	if !r.Works {
		verdict = "profiling does not work here: see the lines that say fail"
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}

// WriteJSON writes the report as one line.
func (r *Report) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }
