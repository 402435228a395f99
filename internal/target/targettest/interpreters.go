// Package targettest finds the Python interpreters that tests can start, and starts programs on them.
package targettest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Minors are the versions of CPython 3 that tests look for.
var Minors = []int{6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// Interpreter is a CPython found on this machine.
type Interpreter struct {
	Path  string
	Minor int
}

// String names an interpreter as a subtest: its path without slashes.
func (i Interpreter) String() string { return strings.ReplaceAll(strings.Trim(i.Path, "/"), "/", "_") }

var executable = regexp.MustCompile(`/python3\.([0-9]+)t?$`)

// Interpreters gives those of pyenv ($PYENV_ROOT, else ~/.pyenv) and of PATH, and logs the versions that are missing. The
// test fails where there is none at all.
func Interpreters(t testing.TB) []Interpreter {
	t.Helper()
	found := find()
	logMissing(t, found)
	return found
}

var find = sync.OnceValue(func() []Interpreter {
	root := os.Getenv("PYENV_ROOT")
	if home, err := os.UserHomeDir(); root == "" && err == nil {
		root = filepath.Join(home, ".pyenv")
	}
	patterns := []string{filepath.Join(root, "versions", "*", "bin", "python3.*")}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		patterns = append(patterns, filepath.Join(dir, "python3.*"))
	}
	var found []Interpreter
	seen := map[string]bool{}
	for _, pattern := range patterns {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			match := executable.FindStringSubmatch(path)
			if match == nil || seen[path] {
				continue
			}
			seen[path] = true
			if minor, _ := strconv.Atoi(match[1]); slices.Contains(Minors, minor) && runs(path) {
				found = append(found, Interpreter{path, minor})
			}
		}
	}
	return found
})

// runs tells an interpreter from a script that looks for one, and from a link to one that is listed anyway.
func runs(path string) bool {
	out, err := exec.Command(path, "-c", "import os; print(os.readlink('/proc/self/exe'))").Output()
	return err == nil && strings.TrimSpace(string(out)) == path
}

func logMissing(t testing.TB, found []Interpreter) {
	t.Helper()
	for _, minor := range Minors {
		if !slices.ContainsFunc(found, func(i Interpreter) bool { return i.Minor == minor }) {
			t.Logf("not tested: no python3.%d found", minor)
		}
	}
	if len(found) == 0 {
		t.Fatal("no Python found: install python3")
	}
}

// Child is a running interpreter. It is killed when its test ends.
type Child struct {
	*exec.Cmd
	In  io.WriteCloser
	out *bufio.Reader
	t   testing.TB
}

// Start runs a command. Its standard input and output are pipes.
func Start(t testing.TB, command *exec.Cmd) *Child {
	t.Helper()
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	return &Child{Cmd: command, In: in, out: bufio.NewReader(out), t: t}
}

// Line waits for the next line that the child prints and gives it without its end.
func (c *Child) Line() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read from %v: %v", c.Args, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Say sends the child one line.
func (c *Child) Say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.In, line+"\n"); err != nil {
		c.t.Fatalf("write to %v: %v", c.Args, err)
	}
}
