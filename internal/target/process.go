// Package target finds out what a process is: whether it runs an interpreter or a Go runtime that can be profiled, where
// that lies in memory, what the service calls itself and which files are its own. It only ever reads, and trusts nothing
// it reads.
package target

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one process that can be profiled.
type Process struct {
	PID     int
	Start   uint64   // clock ticks from boot to its start: with PID its identity
	Exe     string   // as the target sees it
	Cmdline []string // as /proc tells it: a process can overwrite it with a title
	Dir     string   // working directory
	Python  *Python  // nil unless CPython
	Go      *Go      // nil unless a Go program
	Paths   *Paths   // which files are the application's; nil unless CPython

	fs   procfs
	name string
}

var (
	// ErrGone: there is no such process, or it has ended.
	ErrGone = errors.New("no such process")
	// ErrNotReady: the process has just started, and its interpreter or runtime does not exist yet. Try again.
	ErrNotReady = errors.New("its runtime has not started yet")
)

// Inspect tells what the process is. Errors: ErrGone, ErrNotReady, *Unsupported, and failures to read it, which name
// the capability that is missing.
func Inspect(pid int) (*Process, error) { return proc.inspect(pid) }

func (fs procfs) inspect(pid int) (*Process, error) {
	p := &Process{PID: pid, fs: fs}
	if err := p.identify(); err != nil {
		return nil, err
	}
	maps, err := p.Mappings()
	if err != nil {
		return nil, err
	}
	if err = p.findRuntime(maps); errors.Is(err, err32Bit) {
		return nil, &Unsupported{PID: pid, What: fmt.Sprintf("a 32-bit program (%s)", p.Exe), Why: "only 64-bit ones can be profiled"}
	}
	if err != nil {
		return nil, err
	}
	environ, err := fs.strings(pid, "environ")
	if err != nil {
		return nil, err
	}
	env := environment(environ)
	p.name = p.serviceName(env)
	if p.Python != nil {
		p.Paths = p.findPaths(env)
	}
	return p, nil
}

// findRuntime looks for CPython, then for Go, then for a CPython without symbols.
func (p *Process) findRuntime(maps []Mapping) (err error) {
	var other *Unsupported
	if p.Python, err = p.findPython(maps); !errors.As(err, &other) {
		return err
	}
	if p.Go, err = p.findGo(maps); err != nil || p.Go != nil {
		return err
	}
	if p.Python, err = p.findBare(maps); err == nil && p.Python == nil {
		return other
	}
	return err
}

// identify reads what every process has.
func (p *Process) identify() error {
	if err := p.fs.leader(p.PID); err != nil {
		return err
	}
	st, err := p.fs.stat(p.PID)
	if err != nil {
		return err
	}
	if st.state == 'Z' || st.state == 'X' {
		return fmt.Errorf("inspect process %d: %w: it has ended and waits for its parent", p.PID, ErrGone)
	}
	p.Start = st.start
	if p.Exe, err = p.fs.link(p.PID, "exe"); err != nil {
		if _, statErr := os.Stat(p.fs.path(p.PID, "stat")); errors.Is(err, ErrGone) && statErr == nil {
			return &Unsupported{PID: p.PID, What: "a kernel thread"}
		}
		return err
	}
	if p.Dir, err = p.fs.link(p.PID, "cwd"); err != nil {
		return err
	}
	p.Cmdline, err = p.fs.strings(p.PID, "cmdline")
	return err
}

// leader refuses a PID that is a thread's: /proc knows it, but events carry the process's.
func (fs procfs) leader(pid int) error {
	text, err := fs.read(pid, "status", maxText)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		value, ok := strings.CutPrefix(line, "Tgid:")
		if !ok {
			continue
		}
		if leader, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && leader != pid {
			return fmt.Errorf("inspect process %d: it is a thread of process %d: name that one", pid, leader)
		}
	}
	return nil
}

// Age is how long ago the process started.
func (p *Process) Age() time.Duration {
	const tick = time.Second / 100 // USER_HZ (Linux include/asm-generic/param.h)
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano()) - time.Duration(p.Start)*tick
}

// Name is what the service is called where the user gives no name: by its environment, its server's arguments, its
// module or script, or Go's main module, else by its executable.
func (p *Process) Name() string { return p.name }

// Embeds tells a program that has an interpreter inside, such as uWSGI, from the interpreter's own.
func (p *Process) Embeds() bool { return p.Python != nil && !isPython(p.Exe) }

// RuntimeName names interpreter and version: "cpython 3.11.2", "go1.26.1".
func (p *Process) RuntimeName() string {
	switch {
	case p.Python != nil:
		return "cpython " + p.Python.Version()
	case p.Go != nil:
		return p.Go.Version
	}
	return ""
}

// environment keeps the first value of each variable, as getenv(3) does.
func environment(list []string) map[string]string {
	out := make(map[string]string, len(list))
	for _, entry := range list {
		name, value, ok := strings.Cut(entry, "=")
		if _, seen := out[name]; ok && !seen {
			out[name] = value
		}
	}
	return out
}
