package target

import (
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

const printVersion = "import platform; print(platform.python_version(), flush=True); input()"

func inspect(t *testing.T, pid int) *Process {
	t.Helper()
	p, err := Inspect(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestInspectVersions(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			child := targettest.Start(t, exec.Command(python.Path, "-c", printVersion))
			version := child.Line()
			p := inspect(t, child.Process.Pid)
			if got := p.RuntimeName(); got != "cpython "+version {
				t.Errorf("RuntimeName() = %q, want cpython %s", got, version)
			}
			if p.Python.CodeType == 0 || p.Python.RuntimeEnd <= p.Python.Runtime {
				t.Errorf("incomplete: %+v", p.Python)
			}
			if len(p.Paths.Lib) == 0 {
				t.Error("no standard library found")
			}
		})
	}
}

// The version of an image that lacks Py_Version, as all do before 3.11, comes from its literals.
func TestReadVersionFromLiterals(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		child := targettest.Start(t, exec.Command(python.Path, "-c", printVersion))
		version := child.Line()
		p := inspect(t, child.Process.Pid)
		im, err := p.image(p.Python.mapping)
		if err != nil {
			t.Fatal(err)
		}
		defer im.close()
		bases := []string{filepath.Base(p.Python.Image)}
		if python.Minor <= 10 { // later ones have Py_Version, and no path with their version
			bases = append(bases, "renamed")
		}
		for _, base := range bases {
			py := &Python{}
			py.readVersion(im, extent{}, base)
			if py.Version() != version {
				t.Errorf("%s as %s: version %s, want %s", p.Python.Image, base, py.Version(), version)
			}
		}
	}
}

// What is read from memory must be what is read from the file.
func TestMemoryImage(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		child := targettest.Start(t, exec.Command(python.Path, "-c", printVersion))
		child.Line()
		p := inspect(t, child.Process.Pid)
		im, err := openMemoryImage(Memory(p.PID), p.Python.mapping.Start)
		if err != nil {
			t.Fatal(err)
		}
		symbols := im.lookup("PyUnicode_Type", "PyCode_Type", "no such symbol")
		if got := symbols["PyCode_Type"].addr + im.bias; got != p.Python.CodeType {
			t.Errorf("%s: PyCode_Type at %#x in memory, %#x by the file", python.Path, got, p.Python.CodeType)
		}
		if len(symbols) != 2 {
			t.Errorf("found %v", symbols)
		}
	}
}

// copyExecutable gives a copy of an executable in a new directory.
func copyExecutable(t *testing.T, from string) string {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), filepath.Base(real))
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return to
}

// A package upgrade deletes or replaces the files of a running service.
func TestInspectReplaced(t *testing.T) {
	python := targettest.Interpreters(t)[0]
	home, err := exec.Command(python.Path, "-c", "import sys; print(sys.base_prefix)").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, replace := range map[string]func(string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.WriteFile(path, []byte("another file"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			exe := copyExecutable(t, python.Path)
			command := exec.Command(exe, "-c", printVersion)
			command.Env = append(os.Environ(), "PYTHONHOME="+strings.TrimSpace(string(home)))
			child := targettest.Start(t, command)
			version := child.Line()
			if err := replace(exe); err != nil {
				t.Fatal(err)
			}
			if p := inspect(t, child.Process.Pid); p.Python.Version() != version {
				t.Errorf("version %s, want %s", p.Python.Version(), version)
			}
		})
	}
}

func TestInspectUnsupported(t *testing.T) {
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Skip(err)
	}
	for _, test := range []struct {
		command []string
		what    string
	}{
		{[]string{cat}, `neither a Python nor a Go program \(.*/(cat|coreutils|busybox)\)|a shell`},
		{[]string{"node", "-e", "console.log(1); process.stdin.resume()"}, "a JavaScript program"},
		{[]string{"perl", "-e", "$|=1; print qq(1\n); <STDIN>"}, "a Perl program"},
	} {
		if _, err := exec.LookPath(test.command[0]); err != nil {
			t.Logf("not tested: %v", err)
			continue
		}
		child := targettest.Start(t, exec.Command(test.command[0], test.command[1:]...))
		if test.command[0] == cat {
			child.Say("up")
		}
		child.Line()
		_, err := Inspect(child.Process.Pid)
		var u *Unsupported
		if !errors.As(err, &u) || !regexp.MustCompile("^("+test.what+")").MatchString(u.What) {
			t.Errorf("%v: error %v, want unsupported: %s", test.command, err, test.what)
		}
		if err != nil && !strings.Contains(err.Error(), "only CPython") {
			t.Errorf("%v does not say what is supported", err)
		}
	}
	_, err = Inspect(os.Getpid())
	var u *Unsupported
	if !errors.As(err, &u) || !strings.HasPrefix(u.What, "a Go program") {
		t.Errorf("the test itself: error %v, want unsupported: a Go program", err)
	}
}

// program32 is an executable for i386 that waits for a signal.
const program32 = elf.ELFMAG + "\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" + // little-endian
	"\x02\x00\x03\x00\x01\x00\x00\x00\x54\x80\x04\x08\x34\x00\x00\x00" + // begins at 0x8048054
	"\x00\x00\x00\x00\x00\x00\x00\x00\x34\x00\x20\x00\x01\x00\x28\x00\x00\x00\x00\x00" +
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x80\x04\x08\x00\x80\x04\x08" + // all of it at 0x8048000
	"\x5d\x00\x00\x00\x5d\x00\x00\x00\x05\x00\x00\x00\x00\x10\x00\x00" +
	"\xb8\x1d\x00\x00\x00\xcd\x80\xeb\xf7" // pause(), again and again

func TestInspect32Bit(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(exe, []byte(program32), 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(exe)
	if err := command.Start(); err != nil {
		t.Skip(err) // a kernel that runs none
	}
	defer command.Wait()
	defer command.Process.Kill()
	_, err := Inspect(command.Process.Pid)
	var u *Unsupported
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "is a 32-bit program ("+exe+"): only 64-bit ones") {
		t.Errorf("error %v, want unsupported: a 32-bit program", err)
	}
}

func TestInspectGone(t *testing.T) {
	command := exec.Command("true")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	pid := command.Process.Pid
	if err := command.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(int) error{
		"Inspect":  func(pid int) error { _, err := Inspect(pid); return err },
		"Children": func(pid int) error { _, err := Children(pid); return err },
		"Read":     func(pid int) error { return Memory(pid).Read(make([]byte, 8), 1<<20) },
	} {
		if err := ask(pid); !errors.Is(err, ErrGone) {
			t.Errorf("%s of a dead process: %v, want ErrGone", name, err)
		}
	}
}

// From exec to the first interpreter the answer is ErrNotReady, then the process, and nothing else.
func TestInspectStarting(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		child := targettest.Start(t, exec.Command(python.Path, "-c", printVersion))
		waits := 0
		for {
			p, err := Inspect(child.Process.Pid)
			if err == nil {
				if p.Python.Minor != python.Minor {
					t.Errorf("minor %d, want %d", p.Python.Minor, python.Minor)
				}
				break
			}
			if !errors.Is(err, ErrNotReady) {
				t.Fatalf("%s: %v, want ErrNotReady", python.Path, err)
			}
			waits++
		}
		t.Logf("%s: not ready %d times", python.Path, waits)
	}
}

func TestChildren(t *testing.T) {
	child := targettest.Start(t, exec.Command("sh", "-c", "exec 3<&0; cat <&3 & echo $!; wait"))
	grandchild := child.Line()
	pids, err := Children(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	scanned, err := proc.scanChildren(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range [][]int{pids, scanned} {
		if len(got) != 1 || strings.TrimSpace(grandchild) != strconv.Itoa(got[0]) {
			t.Errorf("children %v, want [%s]", got, grandchild)
		}
	}
}

// A container's files have paths that lead elsewhere, or nowhere, in the agent's own mount namespace.
func TestInspectMountNamespace(t *testing.T) {
	python := targettest.Interpreters(t)[0]
	home, err := exec.Command(python.Path, "-c", "import sys; print(sys.base_prefix)").Output()
	if err != nil {
		t.Fatal(err)
	}
	exe := copyExecutable(t, python.Path)
	inside := filepath.Join(t.TempDir(), filepath.Base(exe))
	if err := os.WriteFile(inside, []byte("another file, outside"), 0o755); err != nil {
		t.Fatal(err)
	}
	// In a changed root no path leads to the mount to make private: what is mounted may be seen outside, too.
	const script = `mount --make-rprivate / 2>/dev/null; mount --bind "$1" "$2" && PYTHONHOME=$3 exec "$2/$4" -c "$5"`
	t.Cleanup(func() { _ = syscall.Unmount(filepath.Dir(inside), syscall.MNT_DETACH) })
	command := exec.Command("sh", "-c", script, "sh", filepath.Dir(exe), filepath.Dir(inside), strings.TrimSpace(string(home)),
		filepath.Base(exe), printVersion)
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		t.Skip("a mount namespace needs root")
	}
	child := targettest.Start(t, command)
	version := child.Line()
	p := inspect(t, child.Process.Pid)
	if p.Python.Version() != version || p.Exe != inside {
		t.Errorf("%s of version %s, want %s of %s", p.Exe, p.Python.Version(), inside, version)
	}
	f, err := p.Open(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := openImage(f); err != nil {
		t.Errorf("%s inside: %v", inside, err)
	}
}

// Without the right to trace a process, the error says what right that is.
func TestInspectForbidden(t *testing.T) {
	if os.Getenv("APM_EBPF_TEST_PID") != "" {
		pid, err := strconv.Atoi(os.Getenv("APM_EBPF_TEST_PID"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Inspect(pid)
		os.Stdout.WriteString("answer: " + strings.ReplaceAll(err.Error(), "\n", " ") + "\n")
		return
	}
	if os.Getuid() != 0 {
		t.Skip("changing the user needs root")
	}
	child := targettest.Start(t, exec.Command(targettest.Interpreters(t)[0].Path, "-c", printVersion))
	child.Line()
	self, err := os.Open("/proc/self/exe") // its directory is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	command := exec.Command("/proc/self/fd/3", "-test.run=^TestInspectForbidden$")
	command.ExtraFiles = []*os.File{self}
	command.Env = []string{"APM_EBPF_TEST_PID=" + strconv.Itoa(child.Process.Pid)}
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "CAP_SYS_PTRACE") || !strings.Contains(string(out), "answer: ") {
		t.Errorf("the error does not name the capability: %s", out)
	}
}
