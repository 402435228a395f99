package main

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"apm-ebpf/internal/filter"
)

//go:embed help.txt
var helpText string

// newFlagSet declares the flags in the order in which the environment's values are taken.
func newFlagSet(o *options) *pflag.FlagSet {
	flags := pflag.NewFlagSet("apm-ebpf", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.Usage = func() {}
	for _, d := range []struct {
		name, short string
		set         func(string) error
	}{
		{"pid", "p", o.addPIDs},
		{"frequency", "F", integer(&o.frequency, 1, 10_000)},
		{"sample-rate", "", integer(&o.sampleRate, 1, math.MaxInt32)},
		{"filter", "", o.addFilter},
		{"threshold", "", o.addThreshold},
		{"mapper", "", o.setMapper},
		{"where", "", refuseExpression},
		{"min-duration", "", seconds(&o.minDuration, 0)},
		{"proc-name", "", text(&o.procName)},
		{"log-file", "", o.setLogFile},
		{"duration", "", seconds(&o.duration, time.Microsecond)},
		{"count", "", integer(&o.count, 1, math.MaxInt64)},
		{"log-level", "", o.setLogLevel},
		{"btf", "", text(&o.btf)},
	} {
		flags.VarP(setter(d.set), d.name, d.short, "")
	}
	for _, d := range []struct {
		name, short string
		set         func(string) error
	}{
		{"app-only", "", o.addAppOnly},
		{"lines", "", boolean(&o.lines)},
		{"with-query", "", boolean(&o.withQuery)},
		{"no-command-line", "", boolean(&o.noCommandLine)},
		{"help", "h", o.answerWith(func() string { return helpText })},
		{"version", "", o.answerWith(versionText)},
	} {
		flags.VarPF(setter(d.set), d.name, d.short, "").NoOptDefVal = "true"
	}
	return flags
}

// setter makes a flag of what is done with its value.
type setter func(string) error

func (s setter) Set(value string) error { return s(value) }
func (s setter) String() string         { return "" }
func (s setter) Type() string           { return "" }

func (o *options) addPIDs(value string) error {
	for _, part := range strings.Split(value, ",") {
		pid, err := strconv.ParseInt(strings.TrimSpace(part), 10, 32)
		if err != nil || pid < 1 {
			return errors.New("is no process id; give a whole number from 1 on, as ps tells it")
		}
		if !slices.Contains(o.pids, int(pid)) {
			o.pids = append(o.pids, int(pid))
		}
	}
	return nil
}

func (o *options) addFilter(value string) error {
	spec, err := filter.Parse(value)
	if err != nil {
		return err
	}
	o.filters = append(o.filters, spec)
	return nil
}

func (o *options) addThreshold(value string) error {
	if _, err := parseSeconds(value, 0); err != nil {
		return err
	}
	return o.addFilter("threshold-time=" + value)
}

func (o *options) addAppOnly(value string) error {
	var on bool
	if err := boolean(&on)(value); err != nil {
		return errors.New("takes no value; for another root write --filter app-only=ROOT")
	}
	if on {
		return o.addFilter("app-only")
	}
	return nil
}

func (o *options) setMapper(value string) (err error) {
	o.mapper, err = filter.ParseMapper(value)
	return err
}

func refuseExpression(string) error {
	return errors.New("expressions are not supported by this build; use --min-duration, or select from the records")
}

func (o *options) setLogFile(value string) error {
	switch value {
	case "":
		return errors.New("is no path; give a file, or - for standard output")
	case "-":
		value = ""
	}
	o.logFile = value
	return nil
}

func (o *options) setLogLevel(value string) error {
	levels := []string{"trace", "debug", "info", "warn", "error"}
	if !slices.Contains(levels, value) {
		return fmt.Errorf("is no level; choose one of %s", strings.Join(levels, ", "))
	}
	var err error
	o.logLevel, err = zerolog.ParseLevel(value)
	return err
}

func (o *options) answerWith(text func() string) func(string) error {
	return func(value string) error {
		var asked bool
		if err := boolean(&asked)(value); err != nil || !asked {
			return errors.New("takes no value; leave it out")
		}
		o.answer = text()
		return nil
	}
}

func text(to *string) func(string) error {
	return func(value string) error {
		*to = value
		return nil
	}
}

func boolean(to *bool) func(string) error {
	return func(value string) (err error) {
		if *to, err = strconv.ParseBool(value); err != nil {
			return errors.New("is neither true nor false; give 1, 0, true or false")
		}
		return nil
	}
}

func integer[T int | uint64](to *T, least, most int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < least || n > most {
			return fmt.Errorf("is out of range; give a whole number from %d to %d", least, most)
		}
		*to = T(n)
		return nil
	}
}

func seconds(to *time.Duration, least time.Duration) func(string) error {
	return func(value string) (err error) {
		*to, err = parseSeconds(value, least)
		return err
	}
}

// parseSeconds reads a decimal number of seconds, which is rounded to nanoseconds.
func parseSeconds(value string, least time.Duration) (time.Duration, error) {
	const most = 1e9 // some 31 years, well within a time.Duration
	s, err := strconv.ParseFloat(value, 64)
	// The comparison is false for NaN.
	if err != nil || !(s >= least.Seconds() && s <= most) {
		return 0, fmt.Errorf("is no time in range; give seconds from %v to %.0f, as in 0.25", least.Seconds(), most)
	}
	return time.Duration(math.Round(s * float64(time.Second))), nil
}
