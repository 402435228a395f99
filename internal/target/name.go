package target

import (
	"cmp"
	"path"
	"regexp"
	"strings"
)

// serviceName applies the rules in order: the environment, Go's main module, a title that the server gave its process,
// its arguments, its module, script or executable.
func (p *Process) serviceName(env map[string]string) string {
	if name := env["OTEL_SERVICE_NAME"]; name != "" {
		return name
	}
	if p.Go != nil {
		return cmp.Or(ModuleName(p.Go.Module), path.Base(p.Exe))
	}
	if name := nameByArguments(p.Cmdline, p.Exe, env); name != "" {
		return name
	}
	// multiprocessing's children run code of its own: what they serve is what their parent was told to.
	for pid, i := p.PID, 0; i < maxParents && spawned(p.fs, pid); i++ {
		st, err := p.fs.stat(pid)
		if err != nil || st.parent <= 1 {
			break
		}
		pid = st.parent
		argv, err := p.fs.strings(pid, "cmdline")
		exe, linkErr := p.fs.link(pid, "exe")
		if err != nil || linkErr != nil {
			break
		}
		if name := nameByArguments(argv, exe, env); name != "" {
			return name
		}
	}
	return path.Base(p.Exe)
}

// spawned tells whether the process was started by multiprocessing (CPython Lib/multiprocessing/spawn.py,
// get_command_line; forkserver.py).
func spawned(fs procfs, pid int) bool {
	argv, err := fs.strings(pid, "cmdline")
	if err != nil {
		return false
	}
	for _, arg := range argv {
		if strings.HasPrefix(arg, "from multiprocessing.") {
			return true
		}
	}
	return false
}

// title is what gunicorn calls its processes: "gunicorn: worker [shop]".
var title = regexp.MustCompile(`^gunicorn: [^\[]*\[(.+)\]`)

// unpackedPEX is where PEX unpacks a file that was started, whose name it keeps in the environment, before it executes that
// (pex/cache/dirs.py).
var unpackedPEX = regexp.MustCompile(`/(unzipped_pexes|venvs)/[^/]+/[0-9a-f]{40}(/|$)`)

// nameByArguments gives "" where the arguments tell nothing.
func nameByArguments(argv []string, exe string, env map[string]string) string {
	if len(argv) == 0 {
		return ""
	}
	if match := title.FindStringSubmatch(argv[0]); match != nil {
		return match[1]
	}
	if !isPython(exe) {
		return findApplication(argv[1:])
	}
	run := parsePython(argv[1:])
	if run.program() == "gunicorn" || run.module == "gunicorn" {
		name, app := gunicornArgs(append(strings.Fields(env["GUNICORN_CMD_ARGS"]), run.args...))
		if name != "" {
			return name
		}
		if app != "" {
			return app
		}
	}
	if !run.inline && !strings.HasSuffix(run.script, ".py") {
		if app := findApplication(run.args); app != "" {
			return app
		}
	}
	switch {
	case run.module != "":
		return run.module
	case unpackedPEX.MatchString(run.script) && env["PEX"] != "":
		return path.Base(env["PEX"])
	case run.script != "" && run.script != "-":
		return path.Base(strings.TrimRight(run.script, "/"))
	}
	return ""
}

// isPython tells an interpreter from a program that embeds one.
func isPython(exe string) bool { return strings.HasPrefix(path.Base(exe), "python") }
