package target

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake lays out a process below a /proc and gives its directory.
func fake(t *testing.T, fs procfs, pid, parent int, exe, cwd string, cmdline, environ []string) string {
	t.Helper()
	dir := fs.path(pid, "")
	for _, sub := range []string{"task", "files"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return strings.Join(list, "\x00") + "\x00"
	}
	for name, content := range map[string]string{
		"stat":    fmt.Sprintf("%d (a) b (c)) S %d%s 4711 0\n", pid, parent, strings.Repeat(" 0", 17)),
		"status":  fmt.Sprintf("Name:\ta\nTgid:\t%d\n", pid),
		"cmdline": text(cmdline),
		"environ": text(environ),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"exe": exe, "cwd": cwd, "root": "files"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// identified gives a fake process as far as Inspect gets without its memory.
func identified(t *testing.T, fs procfs, pid int) (*Process, map[string]string) {
	t.Helper()
	p := &Process{PID: pid, fs: fs}
	if err := p.identify(); err != nil {
		t.Fatal(err)
	}
	environ, err := fs.strings(pid, "environ")
	if err != nil {
		t.Fatal(err)
	}
	return p, environment(environ)
}
