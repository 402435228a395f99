// Package capability tells which of the kernel's privileges the agent has, and gives up those that it can do without.
package capability

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Set is a set of capabilities, by the bits of include/uapi/linux/capability.h.
type Set uint64

// What the agent makes use of.
const (
	DACOverride       Set = 1 << unix.CAP_DAC_OVERRIDE       // to open the log file again, whose directory may be another user's
	DACReadSearch     Set = 1 << unix.CAP_DAC_READ_SEARCH    // to read other users' executables and /proc/PID/environ
	SysPtrace         Set = 1 << unix.CAP_SYS_PTRACE         // to read the memory of other users' processes
	SysAdmin          Set = 1 << unix.CAP_SYS_ADMIN          // stands for BPF and Perfmon; to attach uprobes as perf events to some kernels
	SysNice           Set = 1 << unix.CAP_SYS_NICE           // to have a CPU at once when a request begins
	SysResource       Set = 1 << unix.CAP_SYS_RESOURCE       // to lock the memory of maps before 5.11
	Perfmon           Set = 1 << unix.CAP_PERFMON            // to attach programs, and for them to read memory
	BPF               Set = 1 << unix.CAP_BPF                // to load programs and use maps
	CheckpointRestore Set = 1 << unix.CAP_CHECKPOINT_RESTORE // to open files that were replaced while they are mapped
)

var names = []struct {
	set  Set
	name string
}{
	{BPF, "CAP_BPF"},
	{Perfmon, "CAP_PERFMON"},
	{SysPtrace, "CAP_SYS_PTRACE"},
	{DACReadSearch, "CAP_DAC_READ_SEARCH"},
	{DACOverride, "CAP_DAC_OVERRIDE"},
	{SysAdmin, "CAP_SYS_ADMIN"},
	{SysNice, "CAP_SYS_NICE"},
	{SysResource, "CAP_SYS_RESOURCE"},
	{CheckpointRestore, "CAP_CHECKPOINT_RESTORE"},
}

// Has tells whether all of those are in the set.
func (s Set) Has(those Set) bool { return s&those == those }

// String names what the agent makes use of, as CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE.
func (s Set) String() string {
	var held []string
	for _, n := range names {
		if s.Has(n.set) {
			held = append(held, n.name)
		}
	}
	if len(held) < 2 {
		return strings.Join(held, "")
	}
	last := len(held) - 1
	return strings.Join(held[:last], ", ") + " and " + held[last]
}

// Missing are those that this thread lacks, where CAP_SYS_ADMIN stands for what was part of it before 5.8.
func Missing(those Set) Set {
	held := Held()
	if held.Has(SysAdmin) {
		held |= BPF | Perfmon | CheckpointRestore
	}
	return those &^ held
}

// Held are the effective capabilities of this thread.
func Held() Set {
	effective, _, _ := get()
	return effective
}

func get() (effective, permitted, inheritable Set) {
	header, data := thread(), [2]unix.CapUserData{}
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, 0, 0 // no kernel refuses to tell a thread its own
	}
	return join(data[0].Effective, data[1].Effective), join(data[0].Permitted, data[1].Permitted),
		join(data[0].Inheritable, data[1].Inheritable)
}

func join(low, high uint32) Set { return Set(high)<<32 | Set(low) }

// thread stands for the one that calls.
func thread() unix.CapUserHeader {
	return unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
}
