// Package e2e tests the agent as users meet it: its binary beside real servers on real kernels. What a service did is
// told by the service itself, and the agent's records are compared with that.
//
// APM_EBPF_VENVS names a directory of virtual environments (<major.minor>/bin/python) to take interpreters from;
// without it one is made. APM_EBPF_REQUIRE_BPF=1 fails the tests where BPF cannot be used, instead of skipping them, and
// APM_EBPF_REQUIRE_PYTHONS lists versions that must be among the interpreters.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long anything may take that a test waits for. It says nothing about speed: machines may be busy.
const patience = 30 * time.Second

// binary is the agent, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if why := unusable(); why != "" {
		if os.Getenv("APM_EBPF_REQUIRE_BPF") == "1" {
			fmt.Fprintln(os.Stderr, "e2e:", why)
			return 1
		}
		fmt.Println("e2e: skipped:", why)
		return 0
	}
	dir, err := os.MkdirTemp("", "apm-ebpf-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the agent also runs as other users
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	binary = filepath.Join(dir, "apm-ebpf")
	build := exec.Command("go", "build", "-o", binary, "apm-ebpf/cmd/apm-ebpf")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: build the agent: %v\n%s", err, out)
		return 1
	}
	if err := findPythons(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
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
