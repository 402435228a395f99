package targettest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// GoMinors are the versions of Go 1 that tests look for.
var GoMinors = []int{20, 21, 22, 23, 24, 25, 26, 27}

// Toolchain is a Go found on this machine.
type Toolchain struct {
	Command string
	Version string // "go1.26.1"
	Minor   int

	atHand bool
}

// Toolchains gives the Go at hand, and of other versions those that the go command has fetched before
// (GOTOOLCHAIN=go1.21.13 go version), the newest of each. It logs the versions that are missing. With -short it gives
// the Go at hand only.
func Toolchains(t testing.TB) []Toolchain {
	t.Helper()
	found := toolchains()
	if len(found) == 0 {
		t.Fatal("no Go found: install golang-go")
	}
	if testing.Short() {
		return found[:1]
	}
	for _, minor := range GoMinors {
		if !slices.ContainsFunc(found, func(c Toolchain) bool { return c.Minor == minor }) {
			t.Logf("not tested: no Go 1.%d found", minor)
		}
	}
	return found
}

var goRelease = regexp.MustCompile(`\bgo1\.([0-9]+)(\.([0-9]+))?\b`)

var toolchains = sync.OnceValue(func() []Toolchain {
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOROOT").Output()
	if err != nil {
		return nil
	}
	cache, root, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	commands, _ := filepath.Glob(filepath.Join(cache, "golang.org", "toolchain@*."+runtime.GOOS+"-"+runtime.GOARCH, "bin", "go"))
	slices.SortFunc(commands, func(a, b string) int { return patch(b) - patch(a) })
	var found []Toolchain
	for _, command := range append([]string{filepath.Join(root, "bin", "go")}, commands...) {
		run := exec.Command(command, "env", "GOVERSION")
		run.Env = append(os.Environ(), "GOTOOLCHAIN=local")
		version, err := run.Output()
		match := goRelease.FindStringSubmatch(string(version))
		if err != nil || match == nil {
			continue
		}
		minor, _ := strconv.Atoi(match[1])
		if len(found) > 0 && !slices.Contains(GoMinors, minor) {
			continue
		}
		if !slices.ContainsFunc(found, func(c Toolchain) bool { return c.Minor == minor }) {
			found = append(found, Toolchain{command, match[0], minor, len(found) == 0})
		}
	}
	return found
})

// patch gives the last number of the version in a toolchain's path.
func patch(command string) int {
	match := goRelease.FindStringSubmatch(command)
	if match == nil {
		return 0
	}
	number, _ := strconv.Atoi(match[3])
	return number
}

// Build is how to build a Go program.
type Build struct {
	Name string
	Args []string // of go build
	Env  []string
}

// Builds are the ways that change where things lie in an executable. Some need a C compiler. Each needs about as long as
// it takes to compile net/http, once.
var Builds = []Build{
	{"stripped", []string{"-ldflags=-s -w -buildid="}, []string{"CGO_ENABLED=0"}},
	{"arm64", nil, []string{"CGO_ENABLED=0", "GOARCH=arm64"}},
	{"pie", []string{"-trimpath", "-buildmode=pie"}, []string{"CGO_ENABLED=0"}},
	{"cgo", []string{"-ldflags=-s -w -linkmode=external"}, []string{"CGO_ENABLED=1"}},
	{"cgo_pie", []string{"-trimpath", "-buildmode=pie", "-ldflags=-s -w -linkmode=external"}, []string{"CGO_ENABLED=1"}},
	{"arm64_pie", []string{"-trimpath", "-buildmode=pie", "-ldflags=-s -w"}, []string{"CGO_ENABLED=0", "GOARCH=arm64"}},
}

// Builds gives all of them for the Go at hand and the first two for others, unless APM_EBPF_GO_BUILDS is "all".
func (c Toolchain) Builds() []Build {
	if c.atHand || os.Getenv("APM_EBPF_GO_BUILDS") == "all" {
		return Builds
	}
	return Builds[:2]
}

// Runs tells whether the machine can run what is built so.
func (b Build) Runs() bool { return !slices.Contains(b.Env, "GOARCH=arm64") }

// BuildGo builds the module in a directory and gives the path of the executable.
func (c Toolchain) BuildGo(t testing.TB, dir string, build Build) string {
	t.Helper()
	if slices.Contains(build.Env, "CGO_ENABLED=1") {
		if _, err := exec.LookPath("gcc"); err != nil {
			t.Skip("no C compiler")
		}
	}
	exe := filepath.Join(t.TempDir(), "service")
	command := exec.Command(c.Command, slices.Concat([]string{"build", "-o", exe}, build.Args, []string{"."})...)
	command.Dir = dir
	command.Env = slices.Concat(os.Environ(), []string{"GOTOOLCHAIN=local", "GOFLAGS=-buildvcs=false"}, build.Env)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", c.Version, build.Name, err, out)
	}
	return exe
}
