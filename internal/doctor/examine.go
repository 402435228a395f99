package doctor

import (
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
)

// Examine looks at this machine, tries the kernel programs, and looks at the processes. btf is a file with the kernel's
// BTF, or empty.
func Examine(pids []int, btf string) *Report {
	r := &Report{Works: true}
	r.add(machine("/").checks(btf)...)
	r.add(programs(btf)...)
	for _, pid := range pids {
		r.add(process(pid))
	}
	return r
}

// programs loads and attaches what the agent would, and lets go again.
func programs(btf string) (checks []Check) {
	const name = "programs"
	p, err := probe.Open(probe.Config{SampleEvery: 1, BTF: btf, Log: zerolog.Nop()})
	if err == nil {
		defer p.Close()
		err = p.LoadAll()
	}
	if err != nil {
		return []Check{{Name: name, Grade: Fail, Found: err.Error(), Remedy: "put right what is told above; needed are Linux 5.10 or newer, BTF and the capabilities"}}
	}
	checks = append(checks, Check{Name: name, Grade: OK, Found: "load and attach"})
	for _, c := range p.Choices() {
		found := c.Uses
		if c.Lacks != "" {
			found += "; the kernel lacks " + c.Lacks
		}
		checks = append(checks, Check{Name: c.What, Grade: OK, Found: found})
	}
	return append(checks, uprobes(p))
}

// uprobes tries to attach one.
func uprobes(p *probe.Probe) Check {
	c := Check{Name: "uprobes here", Grade: OK, Found: "attach"}
	if err := p.TryUprobe(); err != nil {
		c.Grade, c.Found = Warn, err.Error()
		c.Remedy = "add CAP_SYS_ADMIN, which some kernels ask for; without uprobes asyncio tasks and greenlets are not told apart"
	}
	return c
}

// process tells what the agent would make of one. A process may be none that can be profiled and have started some.
func process(pid int) Check {
	c := Check{Name: fmt.Sprintf("process %d", pid), Grade: OK}
	found, err := describe(pid)
	if errors.As(err, new(*target.Unsupported)) {
		if child, below := firstBelow(pid); child != 0 {
			found, err = fmt.Sprintf("has started process %d: %s", child, below), nil
		}
	}
	if c.Found = found; err != nil {
		c.Grade, c.Found, c.Remedy = Fail, err.Error(), remedy(err)
	}
	return c
}

// firstBelow describes the first descendant of a process that can be profiled, 0: there is none.
func firstBelow(pid int) (child int, found string) {
	children, err := target.Children(pid)
	if err != nil {
		return 0, ""
	}
	for _, child := range children {
		if found, err := describe(child); err == nil {
			return child, found
		}
		if below, found := firstBelow(child); below != 0 {
			return below, found
		}
	}
	return 0, ""
}

func describe(pid int) (string, error) {
	p, err := target.Inspect(pid)
	if err != nil {
		return "", err
	}
	image, source, err := layout(p)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s in %s, service %s, layout from %s", p.RuntimeName(), image, p.Name(), source), nil
}

// layout tells which file has a process's runtime and where its layout is from.
func layout(p *target.Process) (image, source string, err error) {
	if p.Go != nil {
		l, err := goroutine.LayoutOf(p.Go.Minor)
		if err != nil {
			return "", "", err
		}
		return p.Exe, l.Source, nil
	}
	symbols, err := symbol.NewPython(p, nil)
	if err != nil {
		return "", "", err
	}
	return p.Python.Image, symbols.Layout().Source, nil
}

func remedy(err error) string {
	var unsupported *target.Unsupported
	switch {
	case errors.Is(err, target.ErrGone):
		return "name a process that runs, by its number in the machine's PID namespace"
	case errors.Is(err, target.ErrNotReady):
		return "try again when the service has started"
	case errors.As(err, &unsupported):
		return "name the process of the server itself"
	}
	return "put right what the error says"
}
