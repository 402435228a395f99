package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// goModules are the releases of frameworks with which testdata/goframeworks is built.
var goModules = []string{"go.mod", "older.mod"}

// goFrameworks builds testdata/goframeworks with the frameworks' releases that a file names.
func goFrameworks(t *testing.T, modules string) (binary string) {
	t.Helper()
	return buildModule(t, "goframeworks", modules)
}

// buildModule builds a program of testdata, with modules of others that a file names, and goservice's work.
func buildModule(t *testing.T, name, modules string) (binary string) {
	t.Helper()
	dir := filepath.Join(testdata(t), name)
	fetch := exec.Command("go", "mod", "download", "-modfile="+modules)
	fetch.Dir = dir
	if out, err := fetch.CombinedOutput(); err != nil {
		t.Skipf("the modules of %s cannot be fetched: %v\n%s", name, err, out)
	}
	replace := map[string]string{}
	for _, file := range []string{"own.go", "work.go", "system.go"} {
		replace[filepath.Join(dir, file)] = filepath.Join(testdata(t), "goservice", file)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(t.TempDir(), name)
	command := exec.Command("go", "build", "-modfile="+modules, "-overlay="+file, "-ldflags=-s -w", "-o", binary, ".")
	command.Dir = dir
	command.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build the service: %v\n%s", err, out)
	}
	return binary
}

// checkOwn tells whether a record has the function that no other request has, and no other's.
func checkOwn(t *testing.T, r *Record, own string) {
	t.Helper()
	tree := r.tree(t)
	if tree.find(own) == nil {
		t.Errorf("%s lacks %s: %s\n%s", r.Endpoint, own, r, tree)
	}
	tree.walk(func(f *Frame, _ []*Frame) {
		if name := f.name(); strings.HasPrefix(name, "own") && name != own {
			t.Errorf("%s has %s: %s", r.Endpoint, name, r)
		}
	})
}

// TestGoFrameworks has each framework serve requests one by one, whose functions must be told as long as they were, and
// then many at once.
func TestGoFrameworks(t *testing.T) {
	prepared(t)
	const alone, together = 6, 50
	for _, modules := range goModules {
		binary := goFrameworks(t, modules)
		for _, framework := range []string{"gin", "echo", "chi", "fasthttp", "fiber"} {
			t.Run(framework+"_"+modules, func(t *testing.T) {
				s := startGo(t, binary, framework)
				a := attach(t, s.PID, "-F", "1000")
				var answers []*Answer
				for i := range alone {
					answers = append(answers, s.get(t, fmt.Sprintf("/own/%d", i)))
				}
				var c comparison
				var wait sync.WaitGroup
				for i := range together {
					wait.Go(func() { s.get(t, fmt.Sprintf("/own/%d", i)) })
				}
				wait.Wait()
				records := byID(t, a.exactly(t, alone+together))
				for _, r := range records {
					checkOwn(t, r, "own"+strings.TrimPrefix(r.Endpoint, "/own/"))
				}
				for _, answer := range answers {
					precise(records[answer.ID])
					compareTimes(t, &c, records[answer.ID], answer.Truth)
				}
				c.check(t)
			})
		}
	}
}

// TestGRPC has many calls at once on each of two connections, unary ones and streams, by gRPC's own transport.
func TestGRPC(t *testing.T) {
	prepared(t)
	cert, key := certificate(t)
	servers := []struct {
		name         string
		server, call []string
	}{
		{"clear", []string{"grpc"}, nil},
		{"workers", []string{"grpc_workers"}, nil},
		{"tls", []string{"grpc", cert, key}, []string{"tls"}},
	}
	for _, modules := range goModules {
		binary := goFrameworks(t, modules)
		for _, server := range servers {
			t.Run(server.name+"_"+modules, func(t *testing.T) {
				s := startGo(t, binary, server.server...)
				a := attach(t, s.PID, "-F", "1000")
				called := map[string]struct {
					Path  string
					Truth map[string]float64
				}{}
				for _, digits := range []string{"001", "002"} {
					out, err := exec.Command(binary, append([]string{"call", s.Address, digits}, server.call...)...).Output()
					if err != nil {
						t.Fatal(err)
					}
					if err := json.Unmarshal(out, &called); err != nil {
						t.Fatal(err)
					}
				}
				var unseen, all float64
				for id, r := range byID(t, a.exactly(t, len(called))) {
					unseen, all = unseen+r.tree(t).total("[not sampled]"), all+r.Request.Duration
					if call := called[id]; r.Endpoint != call.Path || r.incomplete("owner") {
						t.Errorf("%s is told as %s", call.Path, r)
					}
					checkOwn(t, r, "own"+strings.TrimLeft(r.Endpoint, "/own.Os"))
				}
				if unseen > 0.1*all {
					t.Errorf("%.3f s of %.3f s were not sampled", unseen, all)
				}
			})
		}
	}
}
