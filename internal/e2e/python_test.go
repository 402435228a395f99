package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// versions are those of CPython that the agent knows and is tested on: free-threaded ones end in t.
var versions = []string{"3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13t", "3.13", "3.14t", "3.14", "3.15t", "3.15"}

// Python is an interpreter with gunicorn.
type Python struct {
	Path    string
	Version string
	Minor   int
}

func newPython(dir, version string) Python {
	minor, err := strconv.Atoi(strings.Trim(strings.TrimPrefix(version, "3."), "t"))
	if err != nil {
		panic(err)
	}
	return Python{filepath.Join(dir, version, "bin", "python"), version, minor}
}

func (p Python) String() string { return "python" + p.Version }

// has tells whether a module can be imported.
func (p Python) has(module string) bool {
	return exec.Command(p.Path, "-c", "import "+module).Run() == nil
}

// findPythons looks into APM_EBPF_VENVS, or makes an environment of its own. The oldest comes first.
func findPythons() (pythons []Python, err error) {
	dir := os.Getenv("APM_EBPF_VENVS")
	if dir == "" {
		if dir, err = makeVenv(); err != nil {
			return nil, err
		}
	}
	for _, version := range versions {
		if p := newPython(dir, version); p.has("gunicorn") {
			pythons = append(pythons, p)
		}
	}
	for _, version := range strings.Fields(os.Getenv("APM_EBPF_REQUIRE_PYTHONS")) {
		if !slices.ContainsFunc(pythons, func(p Python) bool { return p.Version == version }) {
			return nil, fmt.Errorf("no Python %s with gunicorn in %s, which APM_EBPF_REQUIRE_PYTHONS asks for", version, dir)
		}
	}
	if len(pythons) == 0 {
		return nil, fmt.Errorf("no Python with gunicorn in %s", dir)
	}
	return pythons, nil
}

// makeVenv makes an environment for the python3 on the PATH, unless it is there, and returns the directory it is in.
func makeVenv() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "apm-ebpf", "e2e")
	out, err := exec.Command("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2] + 't' * ('t' in sys.abiflags))").Output()
	if err != nil {
		return "", fmt.Errorf("ask python3 for its version: %w", err)
	}
	venv := filepath.Join(dir, strings.TrimSpace(string(out)))
	python := newPython(dir, filepath.Base(venv))
	if python.has("gunicorn") {
		return dir, nil
	}
	for _, command := range [][]string{
		{"python3", "-m", "venv", "--clear", venv},
		{python.Path, "-m", "pip", "install", "-q", "-r", "../../scripts/requirements.txt"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return dir, nil
}

// onEachPython runs a test on every interpreter and names the versions that are missing.
func onEachPython(t *testing.T, test func(t *testing.T, python Python)) {
	pythons := prepared(t).pythons
	for _, version := range versions {
		i := slices.IndexFunc(pythons, func(p Python) bool { return p.Version == version })
		t.Run("python"+version, func(t *testing.T) {
			if i < 0 {
				t.Skip("no such interpreter with gunicorn here")
			}
			test(t, pythons[i])
		})
	}
}

// anyPython is the newest interpreter, for tests of what does not depend on it.
func anyPython(t testing.TB) Python {
	t.Helper()
	pythons := prepared(t).pythons
	return pythons[len(pythons)-1]
}
