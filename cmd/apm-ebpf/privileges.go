package main

import "apm-ebpf/internal/capability"

// dropPrivileges keeps what it takes to attach to children that are still to come, and to open the log file again.
func (a *agent) dropPrivileges() {
	const load = capability.BPF | capability.Perfmon
	keep := load | capability.SysPtrace | capability.DACReadSearch | capability.CheckpointRestore | capability.SysNice
	if a.options.logFile != "" {
		keep |= capability.DACOverride
	}
	// It stands for the former two where they are not known, and some kernels ask for it to attach uprobes.
	if !capability.Held().Has(load) || capability.Without(capability.SysAdmin, a.probe.TryUprobe) != nil {
		keep |= capability.SysAdmin
	}
	if err := capability.Keep(keep); err != nil {
		a.log.Warn().Err(err).Msg("the agent has more privileges than it needs")
		return
	}
	a.log.Debug().Stringer("kept", capability.Held()).Msg("privileges")
}
