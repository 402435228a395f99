// Package e2e tests the agent as users meet it: its binary beside real servers on real kernels. What a service did is
// told by the service itself, and the agent's records are compared with that.
//
// APM_EBPF_VENVS names a directory of virtual environments (<major.minor>/bin/python) to take interpreters from;
// without it one is made. APM_EBPF_REQUIRE_BPF=1 fails the tests where BPF cannot be used, instead of skipping them, and
// APM_EBPF_REQUIRE_PYTHONS lists versions that must be among the interpreters.
package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// patience is how long anything may take that a test waits for. It says nothing about speed: machines may be busy.
const patience = 30 * time.Second

// buildDir is where the agent is built.
var buildDir string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if buildDir, err = os.MkdirTemp("", "apm-ebpf-e2e"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(buildDir)
	return m.Run()
}

// ground is what every test stands on.
type ground struct {
	binary  string // the agent
	pythons []Python
	skip    string // why nothing can be tested
	err     error
}

// prepare does its work when the first test asks, not in TestMain: what is read and asked of the environment there does
// not count when the go command decides whether results are still good.
var prepare = sync.OnceValue(func() (g ground) {
	if g.skip = unusable(); g.skip != "" {
		if os.Getenv("APM_EBPF_REQUIRE_BPF") == "1" {
			g.err = errors.New(g.skip)
		}
		return g
	}
	if g.binary, g.err = build(); g.err == nil {
		g.pythons, g.err = findPythons()
	}
	return g
})

// prepared skips or fails a test where there is no ground for it.
func prepared(t testing.TB) ground {
	t.Helper()
	g := prepare()
	if g.err != nil {
		t.Fatal(g.err)
	}
	if g.skip != "" {
		t.Skip(g.skip)
	}
	return g
}

// build makes the agent.
func build() (binary string, err error) {
	for _, dir := range []string{"../../cmd", "../../internal"} { // the results depend on them
		if err := filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { return nil }); err != nil {
			return "", err
		}
	}
	if err := os.Chmod(buildDir, 0o755); err != nil { // the agent also runs as other users
		return "", err
	}
	binary = filepath.Join(buildDir, "apm-ebpf")
	command := exec.Command("go", "build", "-o", binary, "apm-ebpf/cmd/apm-ebpf")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return binary, nil
}

// unusable tells why BPF programs cannot be loaded here, or nothing.
func unusable() string {
	if os.Geteuid() != 0 {
		return "needs root to load BPF programs"
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return "needs a kernel with BTF: " + err.Error()
	}
	return ""
}
