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

// minors are the versions of CPython 3 that the agent knows.
var minors = []int{8, 9, 10, 11, 12, 13, 14, 15}

// Python is an interpreter with gunicorn.
type Python struct {
	Path  string
	Minor int
}

func (p Python) String() string { return fmt.Sprintf("python3.%d", p.Minor) }

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
	for _, minor := range minors {
		p := Python{filepath.Join(dir, fmt.Sprintf("3.%d", minor), "bin", "python"), minor}
		if p.has("gunicorn") {
			pythons = append(pythons, p)
		}
	}
	for _, version := range strings.Fields(os.Getenv("APM_EBPF_REQUIRE_PYTHONS")) {
		if !slices.ContainsFunc(pythons, func(p Python) bool { return fmt.Sprint("3.", p.Minor) == version }) {
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
	out, err := exec.Command("python3", "-c", "import sys; print(sys.version_info[1])").Output()
	if err != nil {
		return "", fmt.Errorf("ask python3 for its version: %w", err)
	}
	minor, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		return "", fmt.Errorf("version of python3: %w", err)
	}
	venv := filepath.Join(dir, fmt.Sprintf("3.%d", minor))
	python := Python{filepath.Join(venv, "bin", "python"), minor}
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
	for _, minor := range minors {
		i := slices.IndexFunc(pythons, func(p Python) bool { return p.Minor == minor })
		t.Run(fmt.Sprintf("python3.%d", minor), func(t *testing.T) {
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
