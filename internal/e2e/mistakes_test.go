package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// checkMistake holds an end against the rules: nothing on standard output, and one line that tells what is wrong.
func checkMistake(t *testing.T, o Outcome, status int, tells ...string) {
	t.Helper()
	var errors []string
	for line := range strings.Lines(o.Stderr) {
		if !strings.Contains(line, `"level":"info"`) {
			errors = append(errors, line)
		}
	}
	if o.Status != status || o.Stdout != "" || len(errors) != 1 {
		t.Errorf("ends with status %d, want %d, and says %q on standard output and\n%s", o.Status, status, o.Stdout, o.Stderr)
	}
	for _, text := range tells {
		if !strings.Contains(o.Stderr, text) {
			t.Errorf("does not tell %q: %s", text, o.Stderr)
		}
	}
}

// TestCommandLineMistakes ends with status 2 before anything is looked at.
func TestCommandLineMistakes(t *testing.T) {
	tests := []struct {
		env, args string
		tells     []string
	}{
		{args: "", tells: []string{"--pid"}},
		{args: "--pid x", tells: []string{`"x"`, "process id"}},
		{args: "--pid 0", tells: []string{`"0"`}},
		{args: "--pid -5", tells: []string{`-5`}},
		{args: "--pid", tells: []string{"--pid needs a value"}},
		{args: "--nonsense", tells: []string{"--nonsense"}},
		{args: "--pids 1", tells: []string{"--pid?"}},
		{args: "-pid 1", tells: []string{"--pid"}},
		{args: "1234", tells: []string{"--pid 1234"}},
		{args: "--pid 1 --mapper dict", tells: []string{`"dict"`, "tree2list"}},
		{args: "--pid 1 --frequency 0", tells: []string{`"0"`, "10000"}},
		{args: "--pid 1 --frequency 99999", tells: []string{`"99999"`}},
		{args: "--pid 1 --sample-rate 0", tells: []string{`"0"`}},
		{args: "--pid 1 --min-duration -1", tells: []string{`"-1"`}},
		{args: "--pid 1 --duration soon", tells: []string{`"soon"`}},
		{args: "--pid 1 --count none", tells: []string{`"none"`}},
		{args: "--pid 1 --log-level loud", tells: []string{`"loud"`, "debug"}},
		{args: "--pid 1 --filter nonsense=1", tells: []string{"nonsense"}},
		{args: "--pid 1 --filter threshold-time=x", tells: []string{`"x"`}},
		{args: "--pid 1 --threshold -3", tells: []string{`"-3"`}},
		{args: "--pid 1", env: "APM_EBPF_COUNT=few", tells: []string{"APM_EBPF_COUNT", `"few"`}},
	}
	for _, test := range tests {
		t.Run(test.env+test.args, func(t *testing.T) {
			o := runAgent(t, []string{test.env}, nil, strings.Fields(test.args)...)
			checkMistake(t, o, 2, append(test.tells, "apm-ebpf: ")...)
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, flag := range []string{"--help", "-h", "--version"} {
		o := runAgent(t, nil, nil, flag)
		if o.Status != 0 || !strings.Contains(o.Stdout, "apm-ebpf") || o.Stderr != "" {
			t.Errorf("%s: %+v", flag, o)
		}
	}
}

// TestUnsuitableTargets ends with status 1.
func TestUnsuitableTargets(t *testing.T) {
	command := exec.Command("sleep", "1000")
	sleep := startProcess(t, command)
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		pid   int
		tells []string
	}{
		{"ended", ended.Process.Pid, []string{"process " + strconv.Itoa(ended.Process.Pid)}},
		{"not Python", sleep.Process.Pid, []string{"process " + strconv.Itoa(sleep.Process.Pid), "Python"}},
		{"impossible", 2147483647, []string{"process 2147483647"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkMistake(t, runAgent(t, nil, nil, "--pid", strconv.Itoa(test.pid)), 1, test.tells...)
		})
	}
}

func TestUnwritableLog(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	for _, path := range []string{filepath.Join(t.TempDir(), "missing", "file"), t.TempDir()} {
		o := runAgent(t, nil, nil, "--pid", strconv.Itoa(s.PID), "--log-file", path)
		checkMistake(t, o, 1, path, "--log-file")
	}
}

// TestRefusedStart has the kernel or a file deny what the agent needs from the start.
func TestRefusedStart(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	t.Run("open files", func(t *testing.T) {
		before := []string{"sh", "-c", `ulimit -n 64; exec "$@"`, "sh"}
		checkMistake(t, runAgent(t, nil, before, "--pid", self), 1, "too many open files", "ulimit -n")
	})
	for kind, flags := range map[string][]string{"PID": {"--pid", "--fork"}, "user": {"--user", "--map-root-user"}, "time": {"--time", "--fork"}} {
		t.Run(kind+" namespace", func(t *testing.T) {
			before := append([]string{"unshare"}, flags...)
			if out, err := exec.Command(before[0], append(flags, "true")...).CombinedOutput(); err != nil {
				t.Skipf("no such namespace here: %v: %s", err, out)
			}
			checkMistake(t, runAgent(t, nil, before, "--pid", self), 1, kind+" namespace")
		})
	}
	for _, file := range []string{"/dev/zero", "/nowhere", "/proc/self/exe"} {
		t.Run(file, func(t *testing.T) {
			checkMistake(t, runAgent(t, nil, nil, "--pid", self, "--btf", file), 1, file, "--btf")
		})
	}
}
