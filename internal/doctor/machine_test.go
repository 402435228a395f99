package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lay makes a machine of files; a name that ends in -> is a link.
func lay(t *testing.T, files map[string]string) machine {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		link, isLink := strings.CutSuffix(name, "->")
		path := filepath.Join(root, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if isLink {
			err = os.Symlink(text, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return machine(root)
}

// able is a machine where everything is as it should be; changes replace files.
func able(t *testing.T, changes map[string]string) machine {
	t.Helper()
	files := map[string]string{
		"proc/self/status":                             "Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n",
		"proc/self/ns/pid->":                           "pid:[4026531836]",
		"proc/self/ns/user->":                          "user:[4026531837]",
		"proc/sys/kernel/yama/ptrace_scope":            "1\n",
		"proc/sys/kernel/osrelease":                    "6.12.1\n",
		"proc/sys/kernel/arch":                         "x86_64\n",
		"proc/sys/kernel/perf_event_paranoid":          "2\n",
		"proc/sys/kernel/unprivileged_bpf_disabled":    "2\n",
		"sys/kernel/btf/vmlinux":                       "",
		"sys/kernel/security/lockdown":                 "[none] integrity confidentiality\n",
		"sys/bus/event_source/devices/uprobe/type":     "7\n",
		"sys/kernel/tracing/events/sched/format":       "",
		"sys/kernel/debug/tracing/events/sched/format": "",
	}
	for name, text := range changes {
		files[name] = text
	}
	return lay(t, files)
}

func status(capabilities string) map[string]string {
	return map[string]string{"proc/self/status": "CapEff:\t" + capabilities + "\nSeccomp:\t0\n"}
}

func TestChecks(t *testing.T) {
	tests := []struct {
		name    string
		changes map[string]string
		btf     string
		check   string
		grade   Grade
		found   string // part of it
	}{
		{"kernel", nil, "", "kernel", OK, "6.12.1 x86_64"},
		{"BTF", nil, "", "BTF", OK, "/sys/kernel/btf/vmlinux"},
		{"BTF file", nil, os.Args[0], "BTF", OK, os.Args[0]},
		{"no BTF file", nil, "/nowhere/btf", "BTF", Fail, "/nowhere/btf"},
		{"all capabilities", nil, "", "CAP_BPF", OK, "held"},
		{"only CAP_SYS_ADMIN", status("0000000000200000"), "", "CAP_BPF", OK, "covered by CAP_SYS_ADMIN"},
		{"no CAP_BPF", status("0000004000000000"), "", "CAP_BPF", Fail, "missing"},
		{"but CAP_PERFMON", status("0000004000000000"), "", "CAP_PERFMON", OK, "held"},
		{"no CAP_SYS_PTRACE", status("000000c000000000"), "", "CAP_SYS_PTRACE", Warn, "missing"},
		{"no CAP_SYS_ADMIN", status("000000c000000000"), "", "CAP_SYS_ADMIN", OK, "missing"},
		{"unreadable capabilities", status("none"), "", "/proc", Fail, "none"},
		{"first PID namespace", nil, "", "PID namespace", OK, ""},
		{"other PID namespace", map[string]string{"proc/self/ns/pid->": "pid:[4026532300]"}, "", "PID namespace", Fail, "container"},
		{"first user namespace", nil, "", "user namespace", OK, ""},
		{"other user namespace", map[string]string{"proc/self/ns/user->": "user:[4026532301]"}, "", "user namespace", Fail, "container"},
		{"first time namespace", nil, "", "time namespace", OK, "not in this kernel"},
		{"other time namespace", map[string]string{"proc/self/ns/time->": "time:[4026532302]"}, "", "time namespace", Fail, "container"},
		{"yama", nil, "", "yama ptrace_scope", OK, "CAP_SYS_PTRACE"},
		{"yama forbids", map[string]string{"proc/sys/kernel/yama/ptrace_scope": "3\n"}, "", "yama ptrace_scope", Fail, "3"},
		{"no yama", map[string]string{"proc/sys/kernel/yama/ptrace_scope": ""}, "", "yama ptrace_scope", OK, "not in"},
		{"no lockdown", nil, "", "lockdown", OK, "none"},
		{"integrity", map[string]string{"sys/kernel/security/lockdown": "none [integrity] confidentiality"}, "", "lockdown", OK, "integrity"},
		{"confidentiality", map[string]string{"sys/kernel/security/lockdown": "none integrity [confidentiality]"}, "", "lockdown", Fail, "confidentiality"},
		{"paranoid", nil, "", "perf_event_paranoid", OK, "2"},
		{"paranoid without CAP_PERFMON", status("0"), "", "perf_event_paranoid", Warn, "2"},
		{"very paranoid", map[string]string{
			"proc/sys/kernel/perf_event_paranoid": "3\n",
			"proc/self/status":                    "CapEff:\t000000c000000000\n",
		}, "", "perf_event_paranoid", OK, "CAP_SYS_ADMIN"},
		{"no perf events", map[string]string{"proc/sys/kernel/perf_event_paranoid": ""}, "", "perf_event_paranoid", Fail, "no perf events"},
		{"little memory", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "83886080\n"}, "", "memory", Warn, "83 MB"},
		{"seccomp", map[string]string{"proc/self/status": "CapEff:\t0\nSeccomp:\t2\n"}, "", "seccomp", Warn, "filter"},
		{"tracefs", nil, "", "tracefs", OK, "/sys/kernel/tracing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, c := range able(t, test.changes).checks(test.btf) {
				if c.Name != test.check {
					continue
				}
				if c.Grade != test.grade || !strings.Contains(c.Found, test.found) {
					t.Errorf("%+v, want %s with %q", c, test.grade, test.found)
				}
				if (c.Grade != OK) != (c.Remedy != "") {
					t.Errorf("%+v: a remedy belongs to what is not ok, and only there", c)
				}
				return
			}
			t.Errorf("no check %q", test.check)
		})
	}
}

func TestReport(t *testing.T) {
	r := &Report{Works: true}
	r.add(Check{Name: "a", Grade: OK, Found: "x"}, Check{Name: "bcd", Grade: Warn, Found: "y", Remedy: "z"})
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	const want = "ok    a    x\nwarn  bcd  y\n           -> z\n\nprofiling works here\n"
	if text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
	r.add(Check{Name: "e", Grade: Fail, Found: "w"})
	if r.Works {
		t.Error("works although a check failed")
	}
}
