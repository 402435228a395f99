package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"apm-ebpf/internal/capability"
)

// least is what the agent cannot do without.
var least = []string{"bpf", "perfmon", "sys_ptrace", "dac_read_search"}

// asNobody starts a program as a user without any rights but those capabilities.
func asNobody(t *testing.T, capabilities []string) []string {
	t.Helper()
	if _, err := exec.LookPath("setpriv"); err != nil {
		t.Skip("no setpriv here")
	}
	before := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	if len(capabilities) > 0 {
		list := "+" + strings.Join(capabilities, ",+")
		before = append(before, "--inh-caps="+list, "--ambient-caps="+list)
	}
	return before
}

// TestLeastPrivileges profiles another user's service, and workers that come later.
func TestLeastPrivileges(t *testing.T) {
	before := asNobody(t, least)
	s := gunicorn(t, anyPython(t), "app")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "records.jsonl")
	line := append(before, prepared(t).binary, "--pid", strconv.Itoa(s.PID), "--log-file", path)
	a := &Agent{Process: startProcess(t, exec.Command(line[0], line[1:]...)), path: path}
	a.ready(t)
	s.signal(t, syscall.SIGTTIN)
	second := s.workers(t, 2)[1]
	asked := 0
	eventually(t, "a request served by the second worker", func() bool {
		answer := s.get(t, "/nap/5")
		asked++
		return byID(t, a.await(t, asked))[answer.ID].Request.PID == second
	})
	for _, r := range a.exactly(t, asked) {
		if r.tree(t).under("nap", "[sleep]") < 0.004 {
			t.Errorf("%s:\n%s", r, r.tree(t))
		}
	}
}

// TestWithoutCapabilities lacks one at a time, and all of them: the error names what is missing and nothing else.
func TestWithoutCapabilities(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	for i, missing := range least {
		t.Run(missing, func(t *testing.T) {
			rest := append(append([]string{}, least[:i]...), least[i+1:]...)
			o := runAgent(t, nil, asNobody(t, rest), "--pid", strconv.Itoa(s.PID))
			checkMistake(t, o, 1, "CAP_"+strings.ToUpper(missing))
			for _, held := range rest {
				if strings.Contains(o.Stderr, "CAP_"+strings.ToUpper(held)) {
					t.Errorf("asks for CAP_%s, which it has: %s", strings.ToUpper(held), o.Stderr)
				}
			}
		})
	}
	t.Run("all", func(t *testing.T) {
		o := runAgent(t, nil, asNobody(t, nil), "--pid", strconv.Itoa(s.PID))
		checkMistake(t, o, 1, "CAP_BPF", "CAP_PERFMON")
	})
}

// TestPrivilegesAfterStart finds no thread of an agent that root started with more than it needs.
func TestPrivilegesAfterStart(t *testing.T) {
	const needed = capability.BPF | capability.Perfmon | capability.SysPtrace | capability.DACReadSearch |
		capability.SysNice | capability.DACOverride | capability.CheckpointRestore // the log file is to be opened again
	a := attach(t, gunicorn(t, anyPython(t), "app").PID)
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(a.Process.Process.Pid) + "/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "CapPrm:\t")
		hex, _, _ := strings.Cut(rest, "\n")
		permitted, err := strconv.ParseUint(hex, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		// CAP_SYS_ADMIN is kept where the kernel asks for it to attach uprobes.
		if more := capability.Set(permitted) &^ needed &^ capability.SysAdmin; more != 0 {
			t.Errorf("%s: has %#x as well: %s", path, uint64(more), more)
		}
		if !strings.Contains(string(text), "NoNewPrivs:\t1") {
			t.Errorf("%s: may gain privileges", path)
		}
	}
}
