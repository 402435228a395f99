package target

import (
	"fmt"
	"path"
	"regexp"
)

// Unsupported is the error of Inspect for a process that cannot be profiled whatever is done.
type Unsupported struct {
	PID  int
	What string // what the process is, with an article
	Why  string // what it lacks; "" where its runtime is none that is known
}

func (u *Unsupported) Error() string {
	if u.Why != "" {
		return fmt.Sprintf("process %d is %s: %s", u.PID, u.What, u.Why)
	}
	return fmt.Sprintf("process %d is %s: only CPython 3.%d to 3.%d and HTTP servers of Go 1.%d to 1.%d can be profiled",
		u.PID, u.What, FirstMinor, LastMinor, FirstGoMinor, LastGoMinor)
}

// kind is a runtime that is known and not supported, told by the base name of the executable or of a mapped library.
type kind struct {
	exe, library *regexp.Regexp
	what         string
}

var kinds = []kind{
	{regexp.MustCompile(`^pypy`), regexp.MustCompile(`^libpypy`), "PyPy"},
	{regexp.MustCompile(`^java$`), regexp.MustCompile(`^libjvm\.so`), "a Java program"},
	{regexp.MustCompile(`^(node|nodejs|bun|deno)$`), regexp.MustCompile(`^libnode\.so`), "a JavaScript program"},
	{regexp.MustCompile(`^ruby`), regexp.MustCompile(`^libruby`), "a Ruby program"},
	{regexp.MustCompile(`^php`), regexp.MustCompile(`^libphp`), "a PHP program"},
	{regexp.MustCompile(`^perl`), regexp.MustCompile(`^libperl\.so`), "a Perl program"},
	{regexp.MustCompile(`^dotnet$`), regexp.MustCompile(`^libcoreclr\.so`), "a .NET program"},
	{regexp.MustCompile(`^python2`), regexp.MustCompile(`^libpython2`), "Python 2"},
	{regexp.MustCompile(`^python3\.[0-5]m?$`), regexp.MustCompile(`^libpython3\.[0-5](m|\.)`), "a Python older than 3.6"},
	{regexp.MustCompile(`^python3\.6m?$`), regexp.MustCompile(`^libpython3\.6(m|\.)`), "a CPython 3.6 that keeps its interpreters in a place that cannot be told"},
	{regexp.MustCompile(`^(ba|da|z|k|c|fi)?sh$|^busybox$`), nil, "a shell, not the server that it may start"},
}

// unsupported tells what a process without a CPython runtime is.
func (p *Process) unsupported(maps []Mapping) error {
	u := &Unsupported{PID: p.PID, What: "neither a Python nor a Go program (" + p.Exe + ")"}
	for _, kind := range kinds {
		if kind.matches(path.Base(p.Exe), maps) {
			u.What = kind.what + " (" + p.Exe + ")"
			return u
		}
	}
	return u
}

func (k kind) matches(exe string, maps []Mapping) bool {
	if k.exe.MatchString(exe) {
		return true
	}
	for _, m := range maps {
		if k.library != nil && m.Offset == 0 && k.library.MatchString(path.Base(m.Path)) {
			return true
		}
	}
	return false
}
