package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"apm-ebpf/internal/capability"
)

// wanted is a capability that the agent makes use of.
type wanted struct {
	capability.Set
	grade Grade // of its absence
	why   string
}

var capabilities = []wanted{
	{capability.BPF, Fail, "to load BPF programs"},
	{capability.Perfmon, Fail, "to attach them and to read the kernel's data"},
	{capability.SysPtrace, Warn, "to read the memory of other users' processes, and of those that gained privileges"},
	{capability.DACReadSearch, Warn, "to read other users' executables and environments"},
	{capability.SysNice, Warn, "to have a CPU at once where others are busy; times are less precise there without"},
}

// privileges are the effective capabilities.
type privileges struct{ capability.Set }

func parsePrivileges(hex string) (privileges, error) {
	bits, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
	return privileges{capability.Set(bits)}, err
}

// either tells whether one of two is held.
func (p privileges) either(a, b capability.Set) bool { return p.Has(a) || p.Has(b) }

func (p privileges) checks() (checks []Check) {
	for _, c := range capabilities {
		checks = append(checks, p.check(c))
	}
	admin := Check{Name: "CAP_SYS_ADMIN", Grade: OK, Found: "held"}
	if !p.Has(capability.SysAdmin) {
		admin.Found = "missing; needed where a kernel asks for it to attach uprobes (see there), else not"
	}
	return append(checks, admin)
}

func (p privileges) check(c wanted) Check {
	check := Check{Name: c.String(), Grade: OK, Found: "held"}
	switch {
	case p.Has(c.Set):
	case c.grade == Fail && p.Has(capability.SysAdmin): // which stands for these two
		check.Found = "covered by CAP_SYS_ADMIN"
	default:
		check.Grade, check.Found = c.grade, "missing; needed "+c.why
		check.Remedy = fmt.Sprintf("run as root, add it in a container (--cap-add %s), or give it to the file: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search,cap_sys_nice+ep apm-ebpf",
			strings.TrimPrefix(c.String(), "CAP_"))
	}
	return check
}
