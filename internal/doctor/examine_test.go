package doctor

import (
	"os/exec"
	"strings"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// TestProcessBelow names a shell that has started what can be profiled, as the agent lets one do.
func TestProcessBelow(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a process of this architecture")
	}
	python := targettest.Interpreters(t)[0]
	shell := targettest.Start(t, exec.Command("/bin/sh", "-c", python.Path+` -c 'print("ready", flush=True); input()'; true`))
	if line := shell.Line(); line != "ready" {
		t.Fatalf("says %q", line)
	}
	c := process(shell.Process.Pid)
	if c.Grade != OK || !strings.HasPrefix(c.Found, "has started process ") || !strings.Contains(c.Found, "cpython 3.") {
		t.Errorf("%+v", c)
	}
	shell.Say("")
	if err := shell.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestProcessAlone names one that neither is nor has started any.
func TestProcessAlone(t *testing.T) {
	sleep := targettest.Start(t, exec.Command("/bin/sleep", "1000"))
	if c := process(sleep.Process.Pid); c.Grade != Fail || c.Remedy == "" {
		t.Errorf("%+v", c)
	}
}
