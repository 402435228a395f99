package probe

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"apm-ebpf/internal/capability"
)

// errNoBTF tells that the layout of the kernel's data is not known.
var errNoBTF = errors.New("this kernel shows no BTF in " + kernelBTF + ": mount sysfs on /sys, run a kernel built with CONFIG_DEBUG_INFO_BTF, or name a file with the BTF of this very kernel by --btf FILE")

var errBTF = errors.New("read the kernel's BTF from")

// errMemlock: up to 5.10 the memory of maps is locked memory.
var errMemlock = errors.New("lift the limit of locked memory")

// Namespace is a kind of namespaces in which the agent must be where the kernel's programs are: in the machine's own.
type Namespace struct {
	Kind    string
	File    string // below /proc/self/ns
	Initial string // what that leads to in the machine's own (include/linux/proc_ns.h)
	Remedy  string
	why     string
}

// Namespaces are those in which the agent would take one process for another, or may do nothing, or tells other times.
var Namespaces = []Namespace{
	{"PID", "pid", "pid:[4026531836]", "--pid=host, in Kubernetes hostPID: true", "where processes have other numbers than in the kernel"},
	{"user", "user", "user:[4026531837]", "--userns=host, no rootless container", "whose root has no privileges with the kernel"},
	{"time", "time", "time:[4026531834]", "nsenter --time --target 1", "whose clock is not that of events"},
}

var errNamespace = errors.New("this is a container's own")

// checkNamespaces takes what cannot be told for the machine's: a kernel may have none.
func checkNamespaces() error {
	for _, n := range Namespaces {
		if name, err := os.Readlink("/proc/self/ns/" + n.File); err == nil && name != n.Initial {
			return fmt.Errorf("%w %s namespace, %s: run the agent in the machine's (%s)", errNamespace, n.Kind, n.why, n.Remedy)
		}
	}
	return nil
}

// explain says what the user can do about an error of loading or attaching.
func explain(err error) error {
	var refused *ebpf.VerifierError
	switch {
	case errors.Is(err, errNoBTF), errors.Is(err, errNamespace):
		return err
	case errors.Is(err, errBTF):
		return fmt.Errorf("%w: name a file with the BTF of this very kernel by --btf", err)
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("%w: allow the agent more of them: ulimit -n 1024", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: the agent needs %d MB, half of it in the kernel: give its container, or control group, a higher limit", err, MemoryNeeded/1_000_000)
	case errors.As(err, &refused) && len(refused.Log) > 0:
		return fmt.Errorf("%w: this kernel's verifier refuses the program, which is a mistake of the agent's: please report it with the kernel's version", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return forbidden(err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, btf.ErrNotFound), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: needs Linux 5.10 or later with BTF; apm-ebpf doctor tells what is missing", err)
	}
	return err
}

// forbidden says what it takes to be allowed to load and attach, beside CAP_BPF and CAP_PERFMON.
func forbidden(err error) error {
	if errors.Is(err, errClock) && capability.Missing(capability.SysAdmin) != 0 {
		return fmt.Errorf("%w: this kernel asks for CAP_SYS_ADMIN as well while kernel.perf_event_paranoid is above 2: add it, or lower that", err)
	}
	if errors.Is(err, errMemlock) {
		return fmt.Errorf("%w: this kernel wants it unlimited: run as root, with CAP_SYS_RESOURCE, or after ulimit -l unlimited", err)
	}
	return fmt.Errorf("%w, though CAP_BPF and CAP_PERFMON are held: apm-ebpf doctor tells what is in the way", err)
}
