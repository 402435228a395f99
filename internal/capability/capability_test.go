package capability

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	for set, want := range map[Set]string{
		0:                                    "",
		BPF:                                  "CAP_BPF",
		Perfmon | BPF:                        "CAP_BPF and CAP_PERFMON",
		SysPtrace | Perfmon | BPF | 1<<63:    "CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE",
		SysAdmin | SysResource | DACOverride: "CAP_DAC_OVERRIDE, CAP_SYS_ADMIN and CAP_SYS_RESOURCE",
	} {
		if have := set.String(); have != want {
			t.Errorf("%#x is %q, want %q", uint64(set), have, want)
		}
	}
}

const inChild = "APM_EBPF_TEST_CAPABILITIES"

// TestKeep gives up capabilities in a process of its own, which shows what each of its threads is left with.
func TestKeep(t *testing.T) {
	if os.Getenv(inChild) != "" {
		keep()
		return
	}
	if !Held().Has(BPF | SysPtrace) {
		t.Skip("needs root")
	}
	child := exec.Command("/proc/self/exe", "-test.run=^TestKeep$")
	child.Env = []string{inChild + "=1"}
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := string(out)
	const all = "CapInh:\t0000000000000000\nCapPrm:\t0000008000000000\nCapEff:\t0000008000000000\n"
	if threads := strings.Count(text, "CapInh:"); threads < 2 || strings.Count(text, all) != threads {
		t.Errorf("want of each thread %q, have:\n%s", all, text)
	}
	if strings.Contains(text, "NoNewPrivs:\t0") {
		t.Errorf("a thread could gain privileges again:\n%s", text)
	}
}

func keep() {
	if err := Keep(BPF); err != nil {
		panic(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		panic(err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/status")
		if err != nil {
			panic(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") {
				os.Stdout.WriteString(line)
			}
		}
	}
}

func TestWithout(t *testing.T) {
	before := Held()
	if !before.Has(SysAdmin | BPF) {
		t.Skip("needs root")
	}
	failure := errors.New("failure")
	err := Without(SysAdmin, func() error {
		if held := Held(); held.Has(SysAdmin) || !held.Has(BPF) {
			t.Errorf("holds %s", held)
		}
		if missing := Missing(SysAdmin | BPF); missing != SysAdmin {
			t.Errorf("misses %s", missing)
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	if held := Held(); held != before {
		t.Errorf("holds %s afterwards, want %s", held, before)
	}
}
