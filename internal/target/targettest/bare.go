package targettest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed testdata/bare.c
var bareSource string

// aboutStatic tells where an interpreter has its headers, its static library, what else that needs, and its home.
const aboutStatic = `
import os, sys, sysconfig as c
v = c.get_config_vars()
print(c.get_path('include'), os.path.join(v['LIBPL'], v['LIBRARY']), sys.base_prefix, v['MODLIBS'], v['SYSLIBS'], v['LIBS'], sep='\n')`

// Bare links an executable of the interpreter's static library, without any symbols, and gives the home to run it with. It
// has the modules that are built in only. The test is skipped where there is no such library, or no C compiler.
func (i Interpreter) Bare(t testing.TB) (bare Interpreter, home string) {
	t.Helper()
	out, err := exec.Command(i.Path, "-c", aboutStatic).Output()
	if err != nil {
		t.Fatal(err)
	}
	told := strings.SplitN(string(out), "\n", 4)
	if found, _ := filepath.Glob(told[1]); found == nil {
		t.Skip("no static library here")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no C compiler")
	}
	bare = Interpreter{filepath.Join(t.TempDir(), "service"), i.Minor}
	source := filepath.Join(t.TempDir(), "bare.c")
	if err := os.WriteFile(source, []byte(bareSource), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-s", "-o", bare.Path, "-I" + told[0], source, told[1], "-lm", "-ldl", "-lutil", "-lpthread"}
	for _, flag := range strings.Fields(told[3]) {
		if strings.HasPrefix(flag, "-l") {
			args = append(args, flag)
		}
	}
	if exec.Command("gcc", args...).Run() == nil {
		return bare, told[2]
	}
	if err := exec.Command("gcc", append(args, "-no-pie")...).Run(); err != nil { // as Debian compiles its library
		t.Skipf("its static library cannot be linked: %v", err)
	}
	return bare, told[2]
}
