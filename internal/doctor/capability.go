package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// Numbers of capabilities (include/uapi/linux/capability.h).
const (
	capDACReadSearch = 2
	capSysPtrace     = 19
	capSysAdmin      = 21
	capPerfmon       = 38
	capBPF           = 39
)

// capability is one that the agent makes use of.
type capability struct {
	number int
	name   string
	grade  Grade // of its absence
	why    string
}

var capabilities = []capability{
	{capBPF, "CAP_BPF", Fail, "to load BPF programs"},
	{capPerfmon, "CAP_PERFMON", Fail, "to attach them and to read the kernel's data"},
	{capSysPtrace, "CAP_SYS_PTRACE", Warn, "to read the memory of other users' processes, and of those that gained privileges"},
	{capDACReadSearch, "CAP_DAC_READ_SEARCH", Warn, "to read other users' executables"},
}

// privileges are the effective capabilities, as a bit set.
type privileges uint64

func (p privileges) has(number int) bool { return p>>number&1 != 0 }

func parsePrivileges(hex string) (privileges, error) {
	bits, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
	return privileges(bits), err
}

// perfmon tells that perf events are free of perf_event_paranoid.
func (p privileges) perfmon() bool { return p.has(capPerfmon) || p.has(capSysAdmin) }

func (p privileges) checks() (checks []Check) {
	for _, c := range capabilities {
		checks = append(checks, p.check(c))
	}
	admin := Check{Name: "CAP_SYS_ADMIN", Grade: OK, Found: "held"}
	if !p.has(capSysAdmin) {
		admin.Found = "missing; needed where a kernel asks for it to attach uprobes (see there), else not"
	}
	return append(checks, admin)
}

func (p privileges) check(c capability) Check {
	check := Check{Name: c.name, Grade: OK, Found: "held"}
	switch {
	case p.has(c.number):
	case c.grade == Fail && p.has(capSysAdmin): // which stands for these two
		check.Found = "covered by CAP_SYS_ADMIN"
	default:
		check.Grade, check.Found = c.grade, "missing; needed "+c.why
		check.Remedy = fmt.Sprintf("run as root, add it in a container (--cap-add %s), or give it to the file: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep apm-ebpf",
			strings.TrimPrefix(c.name, "CAP_"))
	}
	return check
}
