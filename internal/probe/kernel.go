package probe

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// kernelBTF is where a kernel shows its BTF; one that does not has none for the verifier either.
const kernelBTF = "/sys/kernel/btf/vmlinux"

// Choice is how one thing is done on this kernel.
type Choice struct {
	What  string `json:"what"`
	Uses  string `json:"uses"`
	Lacks string `json:"lacks,omitempty"` // what would serve better
}

// lacks is what a kernel may lack and the programs have a second way for.
type lacks struct {
	types   bool // BTF of its own, for typed tracepoints
	sockets bool // the socket tracepoints
	link    bool // perf events as links
	multi   bool // uprobes as links of their own
	hold    bool // a way for programs to keep their CPU
	ticks   bool // ticks that take samples
}

// kernel is what the programs find in the running one. It is asked for each thing, never for its version:
// distributions carry features back.
type kernel struct {
	types   *btf.Spec
	lacks   lacks
	choices []Choice
}

func openKernel(c *Config, types *btf.Cache) (k *kernel, err error) {
	k = &kernel{lacks: c.lacks}
	if _, err := os.Stat(kernelBTF); err != nil || c.BTF != "" {
		k.lacks.types = true
	}
	if c.BTF != "" {
		if k.types, err = loadBTF(c.BTF); err != nil {
			return nil, fmt.Errorf("%w %s: %w", errBTF, c.BTF, err)
		}
	} else if k.types, err = types.Kernel(); err != nil {
		return nil, errNoBTF
	}
	for _, hook := range socketHooks {
		var t *btf.Typedef
		if k.types.TypeByName("btf_trace_"+hook, &t) != nil {
			k.lacks.sockets = true
		}
	}
	if !hasUprobeMulti() {
		k.lacks.multi = true
	}
	if k.lacks.types || !k.knowsSleepers() {
		k.lacks.hold = true
	}
	return k, nil
}

// knowsSleepers tells whether the verifier knows which global functions sleep, and so lets others be called while a
// program keeps its CPU.
func (k *kernel) knowsSleepers() bool {
	var function *btf.Struct
	return k.types.TypeByName("bpf_subprog_info", &function) == nil &&
		slices.ContainsFunc(function.Members, func(m btf.Member) bool { return m.Name == "might_sleep" })
}

// loadBTF does not begin to read what may never end, as a pipe or /dev/zero.
func loadBTF(file string) (*btf.Spec, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	return btf.LoadSpec(file)
}

// Socket tracepoints came with 6.3. They see every way of reading and writing, at a third of the cost.
var socketHooks = []string{"sock_recv_length", "sock_send_length"}

const syscallHook = "sys_exit"

// fit leaves those programs in spec that this kernel has hooks for, in a form that it can load.
func (k *kernel) fit(spec *ebpf.CollectionSpec) error {
	io := Choice{What: "request I/O", Uses: "socket tracepoints"}
	if k.lacks.sockets {
		io.Uses, io.Lacks = syscallHook, "sock_recv_length, sock_send_length (6.3)"
		for _, name := range socketHooks {
			delete(spec.Programs, name)
		}
	} else {
		delete(spec.Programs, syscallHook)
	}
	k.chose(io)
	hooks := Choice{What: "tracepoints", Uses: "tp_btf"}
	if k.lacks.types {
		hooks.Uses, hooks.Lacks = "raw_tp", "the kernel's own BTF"
		if err := untype(spec); err != nil {
			return err
		}
	}
	k.chose(hooks)
	k.chose(k.registers())
	k.chose(k.uprobes(spec))
	preemption, err := k.preemption(spec)
	if err != nil {
		return err
	}
	k.chose(preemption)
	spec.Maps["slow_wakeups"].MaxEntries = uint32(os.Getpagesize())
	// A stack is a page at least (arch/arm64/include/asm/memory.h, THREAD_SHIFT).
	if err := spec.Variables["kernel_stack"].Set(uint32(max(16<<10, os.Getpagesize()))); err != nil {
		return fmt.Errorf("tell programs the size of kernel stacks: %w", err)
	}
	return nil
}

// untype makes raw tracepoints of the typed ones: a kernel without BTF has no other.
func untype(spec *ebpf.CollectionSpec) error {
	for _, p := range spec.Programs {
		if p.AttachType == ebpf.AttachTraceRawTp {
			p.Type, p.AttachType = ebpf.RawTracepoint, ebpf.AttachNone
		}
	}
	if err := spec.Variables["typed"].Set(false); err != nil {
		return fmt.Errorf("prepare programs for a kernel without BTF: %w", err)
	}
	return nil
}

// registers tells what task_regs of bpf/arch.bpf.h comes to.
func (k *kernel) registers() Choice {
	const what, helper = "registers", "bpf_task_pt_regs"
	if !k.lacks.types && k.hasHelper("BPF_FUNC_task_pt_regs") {
		return Choice{What: what, Uses: helper}
	}
	return Choice{What: what, Uses: "top of the kernel stack", Lacks: helper + " (5.15, with BTF)"}
}

// preemption has programs keep their CPU, where they may: see hold_cpu in bpf/target.bpf.h.
func (k *kernel) preemption(spec *ebpf.CollectionSpec) (Choice, error) {
	c := Choice{What: "preemption", Uses: "bpf_preempt_disable"}
	if k.lacks.hold {
		return Choice{What: c.What, Uses: "counted where it costs an event", Lacks: c.Uses + " (6.15, with BTF)"}, nil
	}
	if err := spec.Variables["may_hold_cpu"].Set(true); err != nil {
		return c, fmt.Errorf("tell programs to keep their CPU: %w", err)
	}
	return c, nil
}

func (k *kernel) hasHelper(name string) bool {
	var helpers *btf.Enum
	if k.types.TypeByName("bpf_func_id", &helpers) != nil {
		return false
	}
	for _, v := range helpers.Values {
		if v.Name == name {
			return true
		}
	}
	return false
}

// uprobes has the programs for uprobes loaded for the way in which they will be attached.
func (k *kernel) uprobes(spec *ebpf.CollectionSpec) Choice {
	if k.lacks.multi {
		return Choice{What: "uprobes", Uses: "perf events", Lacks: "uprobe_multi (6.6) that sees every thread (6.10)"}
	}
	for _, p := range spec.Programs {
		if p.Type == ebpf.Kprobe {
			p.AttachType = ebpf.AttachTraceUprobeMulti
		}
	}
	return Choice{What: "uprobes", Uses: "uprobe_multi"}
}

// hasUprobeMulti tells whether uprobes can be links, which are faster to attach and detach and never need
// CAP_SYS_ADMIN. At first these saw one thread of a process only; kernels where that was put right tell a negative
// process number from one that nobody has (46ba0e49b642, 6.10, carried back to others).
func hasUprobeMulti() bool {
	if features.HaveBPFLinkUprobeMulti() != nil {
		return false
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.Kprobe,
		AttachType:   ebpf.AttachTraceUprobeMulti,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "GPL",
	})
	if err != nil {
		return false
	}
	defer program.Close()
	self, err := link.OpenExecutable("/proc/self/exe")
	if err != nil {
		return false
	}
	_, err = self.UprobeMulti(nil, program, &link.UprobeMultiOptions{Addresses: []uint64{1}, PID: math.MaxUint32})
	return errors.Is(err, unix.EINVAL)
}

func (k *kernel) chose(c Choice) { k.choices = append(k.choices, c) }

// options has the programs fitted to the given types where the kernel shows none.
func (k *kernel) options() ebpf.ProgramOptions {
	if !k.lacks.types {
		return ebpf.ProgramOptions{}
	}
	return ebpf.ProgramOptions{KernelTypes: k.types}
}

func attachHook(s *ebpf.ProgramSpec, program *ebpf.Program) (link.Link, error) {
	if s.Type == ebpf.RawTracepoint {
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: s.AttachTo, Program: program})
	}
	return link.AttachTracing(link.TracingOptions{Program: program})
}

// Choices tells how things are done on this kernel.
func (p *Probe) Choices() []Choice { return p.kernel.choices }
