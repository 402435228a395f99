package target

import (
	"bytes"
	"debug/elf"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"apm-ebpf/internal/pclntab"
	"apm-ebpf/internal/target/targettest"
)

// buildGo builds a program of targettest/testdata.
func buildGo(t *testing.T, name string, toolchain targettest.Toolchain, build targettest.Build) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("targettest", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return toolchain.BuildGo(t, dir, build)
}

// eachGo builds the service with every Go and in every way.
func eachGo(t *testing.T, test func(t *testing.T, exe string, toolchain targettest.Toolchain, build targettest.Build)) {
	for _, toolchain := range targettest.Toolchains(t) {
		for _, build := range toolchain.Builds() {
			t.Run(toolchain.Version+"_"+build.Name, func(t *testing.T) {
				test(t, buildGo(t, "goservice", toolchain, build), toolchain, build)
			})
		}
	}
}

func TestGo(t *testing.T) {
	eachGo(t, func(t *testing.T, exe string, toolchain targettest.Toolchain, build targettest.Build) {
		t.Run("symbols", func(t *testing.T) { testGoSymbols(t, exe, toolchain) })
		t.Run("code", func(t *testing.T) { testGoCode(t, exe, toolchain.Minor) })
		if build.Runs() {
			t.Run("process", func(t *testing.T) { testGoProcess(t, exe, toolchain) })
		}
	})
}

// openGo reads an executable as Inspect reads that of a process.
func openGo(t *testing.T, exe string) (*image, *Go) {
	t.Helper()
	f, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	im, err := openImage(f)
	if err != nil {
		t.Fatal(err)
	}
	built, build, ok := im.goBuild()
	g := &Go{Build: build, Module: build.Main.Path}
	if g.Version, g.Minor, _ = parseGoVersion(built); !ok {
		t.Fatal("not a Go program")
	}
	if g.module, err = im.goModule(g.Minor); err != nil {
		t.Fatal(err)
	}
	return im, g
}

// What is found without symbols must be what the symbols say.
func testGoSymbols(t *testing.T, exe string, toolchain targettest.Toolchain) {
	im, g := openGo(t, exe)
	if g.Version != toolchain.Version || g.Minor != toolchain.Minor || g.Module != "example.com/shop/v2" {
		t.Errorf("built by %s (1.%d) from %q", g.Version, g.Minor, g.Module)
	}
	table, err := pclntab.Open(im.at, g.module, g.Minor)
	if err != nil {
		t.Fatal(err)
	}
	allgs, err := im.findAllGs(table.Lookup("runtime.allgadd")["runtime.allgadd"])
	if err != nil {
		t.Error(err)
	}
	symbols := goSymbols(t, exe)
	for _, s := range symbols {
		switch {
		case s.Name == "runtime.allgs" && s.Value != allgs:
			t.Errorf("runtime.allgs at %#x, want %#x", allgs, s.Value)
		case elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Value >= table.Text && s.Value+s.Size <= table.TextEnd && s.Size > 0:
			f, ok := table.Find(s.Value)
			name := strings.TrimSuffix(strings.TrimSuffix(s.Name, ".abi0"), ".abiinternal")
			if g.Minor == 20 { // its linker shortens names, later ones leave it to the runtime
				name = instance.ReplaceAllString(name, "[...]")
			}
			if found := strings.ReplaceAll(table.Name(f.Name), "·", "."); !ok || f.Entry != s.Value || found != name {
				t.Errorf("%s at %#x is %s at %#x", s.Name, s.Value, found, f.Entry)
			}
		}
	}
	t.Logf("%d symbols", len(symbols))
}

// instance is what stands between the outermost brackets of a name.
var instance = regexp.MustCompile(`\[.*\]`)

// goSymbols gives the symbols of an executable, none where it is stripped.
func goSymbols(t *testing.T, exe string) []elf.Symbol {
	t.Helper()
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		t.Fatal(err)
	}
	return symbols
}

// Where uprobes go must be an instruction that the kernel emulates or, on arm64, may step.
func testGoCode(t *testing.T, exe string, minor int) {
	im, g := openGo(t, exe)
	const serve, write, read = "net/http.serverHandler.ServeHTTP", "crypto/tls.(*Conn).Write", "crypto/tls.(*Conn).Read"
	code, err := im.goCode(g, []string{serve, write, read, "main.nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	if len(code.Funcs) != 3 {
		t.Fatalf("found %v", code.Funcs)
	}
	for name, f := range code.Funcs {
		at, err := code.Once(f)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		opcode := make([]byte, 4)
		im.file.ReadAt(opcode, int64(at))
		push := !im.arm64 && opcode[0] == 0x55
		jbe := !im.arm64 && (opcode[0] == 0x76 || opcode[0] == 0x0f && opcode[1] == 0x86)
		frame := im.arm64 && opcode[3] == 0xf8 // str x30, [sp, #-n]!
		if minor == 20 && !im.arm64 {
			push = jbe
		}
		before := f.linked.Entry + at - f.Offset
		if depth := code.table.Depth(&f.linked, before); depth != 0 {
			t.Errorf("%s: the stack is %d deep at +%d", name, depth, at-f.Offset)
		}
		if depth := code.table.Depth(&f.linked, before+1); !im.arm64 && opcode[0] == 0x55 && depth != 8 {
			t.Errorf("%s: the stack is %d deep behind the push", name, depth)
		}
		if into := at - f.Offset; into == 0 || into > 40 || !push && !frame {
			t.Errorf("%s: probe at +%d, % x", name, into, opcode)
		}
	}
	calls := code.Calls(code.Funcs[read], "bytes.(*Reader).Read")
	if len(calls) == 0 {
		t.Fatal("no call of bytes.(*Reader).Read")
	}
	for _, c := range calls {
		opcode := make([]byte, 4)
		im.file.ReadAt(opcode, int64(c.Offset))
		if !im.arm64 && opcode[0] != 0xe8 || im.arm64 && opcode[3]&0xfc != 0x94 {
			t.Errorf("% x at %d is no call", opcode, c.Offset)
		}
	}
	t.Logf("bytes.(*Reader).Read: %+v", calls)
}

// goidOffset is where a g has its number (DWARF of the runtime).
func goidOffset(minor int) uint64 {
	if minor == 23 || minor == 24 {
		return 160
	}
	return 152
}

// What is known of a process must be right from its first instruction on, and when its executable is gone.
func testGoProcess(t *testing.T, exe string, toolchain targettest.Toolchain) {
	child := targettest.Start(t, exec.Command(exe))
	var p *Process
	for err := ErrNotReady; err != nil; {
		if p, err = Inspect(child.Process.Pid); err != nil && !errors.Is(err, ErrNotReady) {
			t.Fatal(err)
		}
	}
	child.Line()
	if err := os.Remove(exe); err != nil {
		t.Fatal(err)
	}
	if again := inspect(t, p.PID); again.Go.AllGs != p.Go.AllGs || again.Go.TLSOffset != p.Go.TLSOffset {
		t.Errorf("%+v without the file, want %+v", again.Go, p.Go)
	}
	if p.RuntimeName() != toolchain.Version || p.Name() != "shop" || p.Python != nil {
		t.Errorf("runtime %q, name %q", p.RuntimeName(), p.Name())
	}
	if p.Go.NoAllGs != nil {
		t.Fatal(p.Go.NoAllGs)
	}
	mem := Memory(p.PID)
	list, _ := mem.word(p.Go.AllGs)
	length, _ := mem.word(p.Go.AllGs + 8)
	goids := map[uint64]bool{}
	for i := range length {
		g, _ := mem.word(list + 8*i)
		goid, _ := mem.word(g + goidOffset(p.Go.Minor))
		goids[goid] = true
	}
	if len(goids) < 4 || !goids[1] || goids[0] {
		t.Errorf("goroutines %v", goids)
	}
}

// The place of g follows the thread-local variables of C code in the same executable.
func TestGoThreads(t *testing.T) {
	toolchain := targettest.Toolchains(t)[0]
	for _, mode := range []string{"exe", "pie"} {
		build := targettest.Build{Name: mode, Args: []string{"-buildmode=" + mode}, Env: []string{"CGO_ENABLED=1"}}
		child := targettest.Start(t, exec.Command(buildGo(t, "gothreads", toolchain, build)))
		child.Line()
		p := inspect(t, child.Process.Pid)
		child.Say(strconv.FormatInt(p.Go.TLSOffset, 10))
		g, err := strconv.ParseUint(child.Line(), 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		const m, g0 = 48, 0 // offsets of g.m and m.g0
		thread, _ := Memory(p.PID).word(g + m)
		if own, err := Memory(p.PID).word(thread + g0); err != nil || own != g {
			t.Errorf("%s: %#x at %d of the thread is no g", mode, g, p.Go.TLSOffset)
		}
		if p.Go.TLSOffset == -8 {
			t.Error("no other thread-local variables: nothing is tested")
		}
	}
}

// Programs that cannot be profiled are told so in a clear line.
func TestInspectGoUnsupported(t *testing.T) {
	toolchain := targettest.Toolchains(t)[0]
	exe, err := os.ReadFile(buildGo(t, "goservice", toolchain, toolchain.Builds()[0]))
	if err != nil {
		t.Fatal(err)
	}
	version := strings.Join(strings.SplitN(toolchain.Version, ".", 3)[:2], ".") // "go1.26"
	for name, test := range map[string]struct{ from, to, want string }{
		"old":     {version, "go1.19", `is a go1\.19\S* program .*: only CPython 3\.6 to 3\.\d+ and HTTP servers of Go 1\.20 to 1\.\d+ can be`},
		"unknown": {version, "nobody", "is a Go program whose build tells no version"},
		"new":     {version, "go1.99", ""},
		"other":   {"net/http.(*", "net/h__p.(*", "is a Go program without an HTTP server that is known"},
	} {
		path := filepath.Join(t.TempDir(), name)
		changed := bytes.ReplaceAll(exe, []byte(test.from), []byte(test.to))
		if err := os.WriteFile(path, changed, 0o755); err != nil {
			t.Fatal(err)
		}
		child := targettest.Start(t, exec.Command(path))
		child.Line()
		_, err := Inspect(child.Process.Pid)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// Tables of a hostile file must neither crash nor hold up the agent.
func TestGoHostile(t *testing.T) {
	toolchain := targettest.Toolchains(t)[0]
	exe := buildGo(t, "goservice", toolchain, toolchain.Builds()[0])
	_, g := openGo(t, exe)
	whole, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	start := bytes.Index(whole, pclntab.Magic)
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		changed := slices.Clone(whole)
		for range 1 << random.IntN(16) {
			changed[start+random.IntN(len(changed)-start)] = byte(random.Uint32())
		}
		im, err := openImage(bytes.NewReader(changed))
		if err != nil {
			continue
		}
		im.goBuild()
		im.goModule(LastGoMinor)
		table, err := pclntab.Open(im.at, g.module, g.Minor)
		if err != nil {
			continue
		}
		for range 1000 {
			pc := table.Text + random.Uint64N(table.TextEnd-table.Text)
			f, ok := table.Find(pc)
			if !ok {
				continue
			}
			table.Depth(&f, pc)
			for _, p := range table.Places(&f, pc) {
				table.Name(p.Name)
				table.File(p.File)
			}
		}
		im.goCode(g, []string{"crypto/tls.(*Conn).Read"})
	}
}

func TestModuleName(t *testing.T) {
	for module, want := range map[string]string{
		"": "", "shop": "shop", "example.com/shop": "shop", "example.com/shop/v2": "shop", "example.com/shop/web": "web",
		"example.com/v8": "example.com", "gopkg.in/shop.v3": "shop.v3",
	} {
		if got := ModuleName(module); got != want {
			t.Errorf("ModuleName(%q) = %q, want %q", module, got, want)
		}
	}
}

func TestParseGoVersion(t *testing.T) {
	for text, want := range map[string]struct {
		version string
		minor   int
	}{
		"go1.26.1":                        {"go1.26.1", 26},
		"go1.20":                          {"go1.20", 20},
		"go1.26.1 X:greenteagc":           {"go1.26.1", 26},
		"go1.27rc1":                       {"go1.27rc1", 27},
		"devel go1.27-5a0e7e1 Tue Nov 3":  {"go1.27", 27},
		"go1.24.6 (Red Hat 1.24.6-1.el9)": {"go1.24.6", 24},
		"devel +5a0e7e1":                  {},
		"":                                {},
	} {
		version, minor, ok := parseGoVersion(text)
		if version != want.version || minor != want.minor || ok != (want.minor > 0) {
			t.Errorf("%q: %q, %d, %v", text, version, minor, ok)
		}
	}
}
