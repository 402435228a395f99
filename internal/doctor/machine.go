package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"apm-ebpf/internal/capability"
	"apm-ebpf/internal/probe"
)

// machine is where the kernel's files lie: the root, in tests a folder like it.
type machine string

func (m machine) path(name string) string { return filepath.Join(string(m), name) }

func (m machine) exists(name string) bool {
	_, err := os.Stat(m.path(name))
	return err == nil
}

// text is what a short file says, nothing if it can't be read.
func (m machine) text(name string) string {
	text, err := os.ReadFile(m.path(name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// status is a line of /proc/self/status.
func (m machine) status(field string) string {
	for line := range strings.Lines(m.text("proc/self/status")) {
		if name, value, ok := strings.Cut(line, ":"); ok && name == field {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// checks looks at everything that needs no program to be loaded.
func (m machine) checks(btfFile string) []Check {
	held, err := parsePrivileges(m.status("CapEff"))
	if err != nil {
		return []Check{{Name: "/proc", Grade: Fail, Found: "cannot be read: " + err.Error(), Remedy: "mount proc on /proc"}}
	}
	checks := []Check{m.kernel(), m.btf(btfFile)}
	checks = append(checks, held.checks()...)
	for _, n := range probe.Namespaces {
		checks = append(checks, m.namespace(n))
	}
	return append(checks, m.lockdown(), m.paranoid(held), m.unprivileged(held), m.yama(held),
		m.seccomp(), memlock(held), m.memory(), m.tracefs())
}

func (m machine) kernel() Check {
	return Check{Name: "kernel", Grade: OK, Found: m.text("proc/sys/kernel/osrelease") + " " + m.text("proc/sys/kernel/arch")}
}

func (m machine) btf(file string) Check {
	const own = "sys/kernel/btf/vmlinux"
	c := Check{Name: "BTF", Grade: OK, Found: "/" + own}
	switch {
	case file != "":
		c.Found = file
		if _, err := os.Stat(file); err != nil {
			c.Grade, c.Found, c.Remedy = Fail, err.Error(), "name an existing file by --btf"
		}
	case !m.exists(own):
		c.Grade, c.Found = Fail, "the kernel shows none in /"+own
		c.Remedy = "mount sysfs on /sys; else run a kernel built with CONFIG_DEBUG_INFO_BTF, or name a file with the BTF of this very kernel by --btf"
	}
	return c
}

func (m machine) namespace(n probe.Namespace) Check {
	c := Check{Name: n.Kind + " namespace", Grade: OK, Found: "the machine's"}
	own, err := os.Readlink(m.path("proc/self/ns/" + n.File))
	if err != nil {
		c.Found = "not in this kernel"
	} else if own != n.Initial {
		c.Grade, c.Found, c.Remedy = Fail, "a container's own", "run the agent in the machine's: "+n.Remedy
	}
	return c
}

func (m machine) lockdown() Check {
	c := Check{Name: "lockdown", Grade: OK, Found: "not in this kernel, or securityfs is not mounted"}
	_, rest, ok := strings.Cut(m.text("sys/kernel/security/lockdown"), "[")
	if !ok {
		return c
	}
	c.Found, _, _ = strings.Cut(rest, "]")
	if c.Found == "confidentiality" {
		c.Grade, c.Remedy = Fail, "boot without lockdown=confidentiality: it forbids to read the kernel's data"
	}
	return c
}

func (m machine) paranoid(held privileges) Check {
	const file = "proc/sys/kernel/perf_event_paranoid"
	c := Check{Name: "perf_event_paranoid", Grade: OK, Found: m.text(file)}
	switch {
	case c.Found == "":
		c.Grade, c.Found, c.Remedy = Fail, "the kernel has no perf events", "run a kernel built with CONFIG_PERF_EVENTS"
	case c.Found > "2" && !held.Has(capability.SysAdmin): // as distributions have it, which know higher values
		c.Found += ", above 2 some kernels ask for CAP_SYS_ADMIN (see below)"
	case held.either(capability.Perfmon, capability.SysAdmin):
		c.Found += ", which does not bind CAP_PERFMON"
	default:
		c.Grade, c.Remedy = Warn, "hold CAP_PERFMON, which it does not bind"
	}
	return c
}

func (m machine) unprivileged(held privileges) Check {
	c := Check{Name: "unprivileged_bpf_disabled", Grade: OK, Found: m.text("proc/sys/kernel/unprivileged_bpf_disabled")}
	switch {
	case c.Found == "":
		c.Found = "not in this kernel"
	case held.either(capability.BPF, capability.SysAdmin):
		c.Found += ", which does not bind CAP_BPF"
	default:
		c.Grade, c.Remedy = Warn, "hold CAP_BPF: whatever it says, these programs need it"
	}
	return c
}

// yama may have the kernel refuse all reading of other processes' memory (Documentation/admin-guide/LSM/Yama.rst).
func (m machine) yama(held privileges) Check {
	const nobody = "3"
	c := Check{Name: "yama ptrace_scope", Grade: OK, Found: m.text("proc/sys/kernel/yama/ptrace_scope")}
	switch c.Found {
	case "":
		c.Found = "not in this kernel"
	case nobody:
		c.Grade, c.Found = Fail, nobody+": nobody may read another process's memory"
		c.Remedy = "boot with kernel.yama.ptrace_scope at 2 or less: it cannot be lowered before"
	default:
		if held.Has(capability.SysPtrace) {
			c.Found += ", which does not bind CAP_SYS_PTRACE"
		}
	}
	return c
}

func (m machine) seccomp() Check {
	c := Check{Name: "seccomp", Grade: OK, Found: "no filter"}
	if mode := m.status("Seccomp"); mode != "" && mode != "0" {
		c.Grade, c.Found = Warn, "a filter is in force"
		c.Remedy = "have it allow bpf, perf_event_open and process_vm_readv (in a container: --security-opt seccomp=unconfined, or a profile that does)"
	}
	return c
}

// memlock: up to 5.10 the memory of maps counts against it (5.11 charges it to the cgroup).
func memlock(held privileges) Check {
	c := Check{Name: "locked memory", Grade: OK, Found: "no limit"}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		c.Grade, c.Found = Warn, err.Error()
	} else if limit.Cur != unix.RLIM_INFINITY {
		c.Found = fmt.Sprintf("limit of %d KiB, raised where the kernel needs it", limit.Cur>>10)
		if !held.Has(capability.SysResource) {
			c.Found += ", for which CAP_SYS_RESOURCE is missing"
		}
	}
	return c
}

// memory: a process that needs more than its control group allows is killed.
func (m machine) memory() Check {
	c := Check{Name: "memory", Grade: OK, Found: "no limit"}
	limit, file := probe.MemoryLimit(string(m))
	if limit == 0 {
		return c
	}
	c.Found = fmt.Sprintf("limit of %d MB, by %s", limit/1_000_000, file)
	if limit < probe.MemoryNeeded {
		c.Grade, c.Remedy = Warn, fmt.Sprintf("give the agent's container, or control group, %d MB: it may be killed", probe.MemoryNeeded/1_000_000)
	}
	return c
}

func (m machine) tracefs() Check {
	for _, dir := range []string{"sys/kernel/tracing", "sys/kernel/debug/tracing"} {
		if m.exists(dir + "/events") {
			return Check{Name: "tracefs", Grade: OK, Found: "/" + dir}
		}
	}
	c := Check{Name: "tracefs", Grade: OK, Found: "not mounted, and not needed"}
	if !m.exists("sys/bus/event_source/devices/uprobe/type") {
		c.Grade, c.Found = Warn, "not mounted, and this kernel has no other way to attach uprobes"
		c.Remedy = "mount it: mount -t tracefs tracefs /sys/kernel/tracing"
	}
	return c
}
