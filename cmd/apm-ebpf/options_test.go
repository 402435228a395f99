package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"apm-ebpf/internal/filter"
)

// settings is what a test expects, with filters as text.
type settings struct {
	options
	filters string
}

func defaults(change func(*settings)) settings {
	s := settings{options: options{
		pids: []int{1}, sampleRate: 1, mapper: filter.List, logLevel: zerolog.InfoLevel,
	}}
	change(&s)
	return s
}

func (o *options) settings() settings {
	s := settings{options: *o}
	var texts []string
	for _, f := range o.filters {
		texts = append(texts, f.String())
	}
	s.options.filters, s.filters = nil, strings.Join(texts, "|")
	return s
}

func TestParseOptions(t *testing.T) {
	tests := []struct {
		name    string
		args    string
		environ []string
		want    func(*settings)
	}{
		{"defaults", "--pid 1", nil, func(*settings) {}},
		{"several processes", "-p 3 --pid=2 -p3 -p 5,6", nil, func(s *settings) { s.pids = []int{3, 2, 5, 6} }},
		{"numbers", "-p 1 -F 10000 --sample-rate 7 --count 3", nil, func(s *settings) {
			s.frequency, s.sampleRate, s.count = 10000, 7, 3
		}},
		{"seconds", "-p 1 --min-duration .25 --duration 1e-3", nil, func(s *settings) {
			s.minDuration, s.duration = 250*time.Millisecond, time.Millisecond
		}},
		{"switches", "-p 1 --lines --with-query --no-command-line", nil, func(s *settings) {
			s.lines, s.withQuery, s.noCommandLine = true, true, true
		}},
		{"switch turned off", "-p 1 --lines=0 --app-only=false", nil, func(*settings) {}},
		{"texts", "-p 1 --proc-name shop --log-file /tmp/x --mapper tree --log-level debug", nil, func(s *settings) {
			s.procName, s.logFile, s.mapper, s.logLevel = "shop", "/tmp/x", filter.Tree, zerolog.DebugLevel
		}},
		{"standard output", "-p 1 --log-file -", []string{"APM_EBPF_LOG_FILE=/tmp/x"}, func(*settings) {}},
		{"filters in their order", "-p 1 --filter module-path=a,b --app-only --threshold 0.5 --filter not-include=c --app-only",
			nil, func(s *settings) {
				s.filters = "module-path=a,b|app-only|threshold-time=0.5|not-include=c|app-only"
			}},
		{"environment", "", []string{
			"APM_EBPF_PID=1, 2", "APM_EBPF_FREQUENCY=99", "APM_EBPF_SAMPLE_RATE=2", "APM_EBPF_MAPPER=tree",
			"APM_EBPF_LINES=1", "APM_EBPF_MIN_DURATION=2", "APM_EBPF_WITH_QUERY=true", "APM_EBPF_PROC_NAME=shop",
			"APM_EBPF_NO_COMMAND_LINE=0", "APM_EBPF_LOG_FILE=x", "APM_EBPF_DURATION=3", "APM_EBPF_COUNT=4",
			"APM_EBPF_LOG_LEVEL=warn", "APM_EBPF_HELP=1", "APM_EBPF_VERSION=2.0", "OTHER", "APM_EBPF_WHERE=",
		}, func(s *settings) {
			s.pids, s.frequency, s.sampleRate, s.mapper = []int{1, 2}, 99, 2, filter.Tree
			s.lines, s.minDuration, s.withQuery, s.procName = true, 2*time.Second, true, "shop"
			s.logFile, s.duration, s.count, s.logLevel = "x", 3*time.Second, 4, zerolog.WarnLevel
		}},
		{"flag beats environment", "-p 1 -F 5 --lines=false", []string{
			"APM_EBPF_PID=7", "APM_EBPF_FREQUENCY=nonsense", "APM_EBPF_LINES=1",
		}, func(s *settings) { s.frequency = 5 }},
		{"filters of the environment", "-p 1", []string{
			"APM_EBPF_FILTER=module-path=a,b\r\n\n not-include=c\n", "APM_EBPF_THRESHOLD=0.1", "APM_EBPF_APP_ONLY=1",
		}, func(s *settings) { s.filters = "module-path=a,b| not-include=c|threshold-time=0.1|app-only" }},
		{"filters of the environment come first", "-p 1 --threshold 0.2", []string{
			"APM_EBPF_FILTER=app-only", "APM_EBPF_THRESHOLD=0.1",
		}, func(s *settings) { s.filters = "app-only|threshold-time=0.2" }},
		{"filters replace those of the environment", "-p 1 --filter module-path=a --app-only=0", []string{
			"APM_EBPF_FILTER=app-only\nnot-include=c", "APM_EBPF_APP_ONLY=1",
		}, func(s *settings) { s.filters = "module-path=a" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := parseOptions(strings.Fields(tt.args), tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := o.settings(), defaults(tt.want); !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%+v, want\n%+v", got, want)
			}
		})
	}
}

func TestParseOptionsRefuses(t *testing.T) {
	tests := []struct {
		args    []string
		environ []string
		want    string
	}{
		{nil, nil, "no process to profile: give --pid PID or set APM_EBPF_PID; see apm-ebpf --help"},
		{[]string{"1234"}, nil, `unexpected argument "1234": to profile that process, write --pid 1234`},
		{[]string{"-p", "1", "--", "x"}, nil, `unexpected argument "x": see apm-ebpf --help`},
		{[]string{"-p", "0"}, nil, `--pid "0": is no process id; `},
		{[]string{"-p", "-5"}, nil, `--pid "-5": is no process id; `},
		{[]string{"-p", "1,"}, nil, `--pid "1,": is no process id; `},
		{[]string{"-p", "4294967297"}, nil, `--pid "4294967297": is no process id; `},
		{[]string{"-pid", "12"}, nil, `unknown flag -pid: write it with two dashes, --pid`},
		{[]string{"-lines"}, nil, `unknown flag -lines: write it with two dashes, --lines`},
		{[]string{"--pid"}, nil, `--pid needs a value: see apm-ebpf --help`},
		{[]string{"-p"}, nil, `--pid needs a value: see apm-ebpf --help`},
		{[]string{"-x"}, nil, `unknown flag "-x": see apm-ebpf --help`},
		{[]string{"--treshold", "1"}, nil, `unknown flag "--treshold": did you mean --threshold?`},
		{[]string{"--freq=1"}, nil, `unknown flag "--freq": did you mean --frequency?`},
		{[]string{"--proc_name=x"}, nil, `unknown flag "--proc_name": did you mean --proc-name?`},
		{[]string{"--nothing-like-it"}, nil, `unknown flag "--nothing-like-it": see apm-ebpf --help`},
		{[]string{"--=x"}, nil, `argument "--=x" is no flag: see apm-ebpf --help`},
		{[]string{"-F", "0"}, nil, `--frequency "0": is out of range; give a whole number from 1 to 10000`},
		{[]string{"-F", "10001"}, nil, `--frequency "10001": is out of range`},
		{[]string{"-F", "99.5"}, nil, `--frequency "99.5": is out of range`},
		{[]string{"--sample-rate", "0"}, nil, `--sample-rate "0": is out of range`},
		{[]string{"--count", "0"}, nil, `--count "0": is out of range`},
		{[]string{"--count", "-1"}, nil, `--count "-1": is out of range`},
		{[]string{"--duration", "0"}, nil, `--duration "0": is no time in range; give seconds from 1e-06 to `},
		{[]string{"--duration", "5s"}, nil, `--duration "5s": is no time in range; give seconds from 1e-06 to `},
		{[]string{"--min-duration", "NaN"}, nil, `--min-duration "NaN": is no time in range; `},
		{[]string{"--min-duration", "Inf"}, nil, `--min-duration "Inf": is no time in range; `},
		{[]string{"--min-duration", "-1"}, nil, `--min-duration "-1": is no time in range; `},
		{[]string{"--min-duration", "1e300"}, nil, `--min-duration "1e300": is no time in range; `},
		{[]string{"--threshold", "NaN"}, nil, `--threshold "NaN": is no time in range; `},
		{[]string{"--app-only=/srv"}, nil, `--app-only "/srv": takes no value; for another root write --filter app-only=ROOT`},
		{[]string{"--filter", "app_only"}, nil, `--filter "app_only": "app_only" at character 1: is no filter; named filters are `},
		{[]string{"--filter", "time >\n1"}, nil, `--filter "time >\n1": ">\n1" at character 6: expressions are not supported`},
		{[]string{"--filter", ""}, nil, `--filter "": is empty; named filters are `},
		{[]string{"--where", "status > 1"}, nil, `--where "status > 1": expressions are not supported by this build; `},
		{[]string{"--mapper", "list"}, nil, `--mapper "list": is no mapper; choose tree2list or tree`},
		{[]string{"--lines=yes"}, nil, `--lines "yes": is neither true nor false; give 1, 0, true or false`},
		{[]string{"--log-file", ""}, nil, `--log-file "": is no path; `},
		{[]string{"--log-level", "loud"}, nil, `--log-level "loud": is no level; choose one of trace, debug, info, warn, error`},
		{[]string{"--help=maybe"}, nil, `--help "maybe": takes no value; leave it out`},
		{nil, []string{"APM_EBPF_PID=1;2"}, `APM_EBPF_PID "1;2": is no process id; `},
		{nil, []string{"APM_EBPF_LINES=on"}, `APM_EBPF_LINES "on": is neither true nor false; `},
		{nil, []string{"APM_EBPF_FILTER=app-only\ntime > 1"}, `APM_EBPF_FILTER "time > 1": "> 1" at character 6: `},
	}
	for _, tt := range tests {
		t.Run(strings.Join(append(tt.args, tt.environ...), " "), func(t *testing.T) {
			_, err := parseOptions(tt.args, tt.environ)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := err.Error(); !strings.HasPrefix(got, tt.want) || strings.Contains(got, "\n") {
				t.Errorf("error is\n\t%q, want\n\t%q", got, tt.want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct{ args, want string }{
		{"--help", "apm-ebpf tells"},
		{"-h", "apm-ebpf tells"},
		{"--pid 1 -h --nonsense", "apm-ebpf tells"},
		{"-F 99999 --help", "apm-ebpf tells"},
		{"--version", "apm-ebpf "},
	}
	for _, tt := range tests {
		o, err := parseOptions(strings.Fields(tt.args), []string{"APM_EBPF_FREQUENCY=bad"})
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
		} else if !strings.HasPrefix(o.answer, tt.want) || !strings.HasSuffix(o.answer, "\n") {
			t.Errorf("%s answers %q", tt.args, o.answer)
		}
	}
}

func TestHelpTellsEveryFlagIn80Columns(t *testing.T) {
	newFlagSet(new(options)).VisitAll(func(flag *pflag.Flag) {
		if !strings.Contains(helpText, " --"+flag.Name+" ") {
			t.Errorf("--%s is not told", flag.Name)
		}
	})
	for line := range strings.Lines(helpText) {
		if len(line) > 81 || strings.ContainsRune(line, '\t') {
			t.Errorf("line does not fit: %q", line)
		}
	}
}

func TestDoctorMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"--log-level debug": `apm-ebpf doctor: unknown flag "--log-level": see apm-ebpf doctor --help`,
		"--jsn":             `apm-ebpf doctor: unknown flag "--jsn": did you mean --json?`,
		"x":                 `apm-ebpf doctor: unexpected argument "x": see apm-ebpf doctor --help`,
	} {
		var stdout, stderr strings.Builder
		status := runDoctor(strings.Fields(args), nil, &stdout, &stderr)
		if status != 2 || stdout.String() != "" || stderr.String() != want+"\n" {
			t.Errorf("%s: status %d, %q, %q", args, status, stdout.String(), stderr.String())
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("--pid 1 --filter x", "APM_EBPF_FILTER=app-only")
	f.Add("-p 1 -- --x\x00", "APM_EBPF_COUNT=\xff")
	f.Fuzz(func(t *testing.T, args, variable string) {
		o, err := parseOptions(strings.Fields(args), []string{variable})
		if err == nil && o.answer == "" && len(o.pids) == 0 {
			t.Error("accepted without a process")
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("error is not one line: %q", err)
		}
	})
}
