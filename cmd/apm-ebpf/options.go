package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"apm-ebpf/internal/emit"
	"apm-ebpf/internal/filter"
)

// options are what the command line and the environment ask for.
type options struct {
	answer string // what --help or --version asked for: to be printed to standard output, instead of everything else

	pids          []int // without repetition, in the order given
	frequency     int   // on-CPU stacks a second; 0 where the agent is to choose
	sampleRate    int   // one of so many requests gets a tree; at least 1
	filters       []*filter.Spec
	mapper        filter.Mapper
	lines         bool
	minDuration   time.Duration
	withQuery     bool
	procName      string // empty where each target's own name is to be told
	noCommandLine bool
	btf           string        // file with the kernel's BTF; empty where the kernel has its own
	logFile       string        // empty for standard output
	duration      time.Duration // 0 for no end
	count         uint64        // 0 for no end
	logLevel      zerolog.Level
}

// errAnswered ends parsing where --help or --version was met: what follows it does not matter.
var errAnswered = errors.New("answered")

// setting is a value for a flag and where it was found, by the name that the user knows.
type setting struct {
	flag   *pflag.Flag
	value  string
	origin string
}

// parseOptions reads the arguments that follow the command's name, and the environment as NAME=VALUE. Its errors are
// mistakes of the user: one line that tells what, on what, and what to do.
func parseOptions(args, environ []string) (*options, error) {
	o := &options{sampleRate: 1, mapper: filter.List, logLevel: zerolog.InfoLevel}
	flags := newFlagSet(o)
	if err := setFlags(flags, args, environ); errors.Is(err, errAnswered) {
		return o, nil
	} else if err != nil {
		return nil, err
	}
	if len(o.pids) == 0 {
		return nil, errors.New("no process to profile: give --pid PID or set APM_EBPF_PID; see apm-ebpf --help")
	}
	return o, nil
}

// setFlags sets the flags, from the environment first.
func setFlags(flags *pflag.FlagSet, args, environ []string) error {
	given, err := fromArguments(flags, args)
	if err != nil {
		return err
	}
	for _, s := range append(fromEnvironment(flags, environ, given), given...) {
		if err := s.flag.Value.Set(s.value); err != nil {
			return fmt.Errorf("%s %q: %w", s.origin, s.value, err)
		}
	}
	return nil
}

// fromArguments collects what the arguments set, in their order, without setting it yet: the environment comes first.
func fromArguments(flags *pflag.FlagSet, args []string) ([]setting, error) {
	if long := singleDash(flags, args); long != "" {
		return nil, fmt.Errorf("unknown flag -%s: write it with two dashes, --%[1]s", long)
	}
	var given []setting
	err := flags.ParseAll(args, func(flag *pflag.Flag, value string) error {
		if flag.Name == "help" || flag.Name == "version" {
			if err := flag.Value.Set(value); err != nil {
				return fmt.Errorf("--%s %q: %w", flag.Name, value, err)
			}
			return errAnswered
		}
		given = append(given, setting{flag, value, "--" + flag.Name})
		return nil
	})
	switch {
	case errors.Is(err, errAnswered):
		return nil, err
	case err != nil:
		return nil, explain(flags, err)
	case flags.NArg() > 0:
		return nil, unexpected(flags, flags.Arg(0))
	}
	return given, nil
}

// fromEnvironment collects what the environment sets for flags that were not given as arguments. An empty variable
// counts as absent. The variables of filters are taken in the order in which --help lists their flags.
func fromEnvironment(flags *pflag.FlagSet, environ []string, given []setting) []setting {
	taken := make(map[string]bool)
	for _, s := range given {
		taken[s.flag.Name] = true
	}
	values := make(map[string]string)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		values[name] = value
	}
	var found []setting
	flags.VisitAll(func(flag *pflag.Flag) {
		name := variableOf(flag)
		if name == "" || taken[flag.Name] || values[name] == "" {
			return
		}
		if flag.Name != "filter" {
			found = append(found, setting{flag, values[name], name})
			return
		}
		for line := range strings.Lines(values[name]) {
			if line = strings.Trim(line, "\r\n"); strings.TrimSpace(line) != "" {
				found = append(found, setting{flag, line, name})
			}
		}
	})
	return found
}

// variableOf returns the environment variable of a flag. Those that ask for an answer have none: images are often
// built with a variable that tells the version.
func variableOf(flag *pflag.Flag) string {
	if flag.Name == "help" || flag.Name == "version" {
		return ""
	}
	return "APM_EBPF_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
}

func versionText() string { return "apm-ebpf " + emit.Version() + "\n" }
