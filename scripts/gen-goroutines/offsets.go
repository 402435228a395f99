package main

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// offset is one field of a goroutine.Layout.
type offset struct{ field, value string }

// fields are where the offsets of a goroutine.Layout are found: path is a struct, then a member, then a member of that.
var fields = []struct{ name, path string }{
	{"StackHi", "runtime.g stack hi"},
	{"M", "runtime.g m"},
	{"SchedSP", "runtime.g sched sp"},
	{"SchedPC", "runtime.g sched pc"},
	{"SchedLR", "runtime.g sched lr"},
	{"SchedBP", "runtime.g sched bp"},
	{"SyscallSP", "runtime.g syscallsp"},
	{"SyscallPC", "runtime.g syscallpc"},
	{"SyscallBP", "runtime.g syscallbp"},
	{"Status", "runtime.g atomicstatus"},
	{"GoID", "runtime.g goid"},
	{"WaitReason", "runtime.g waitreason"},
	{"TrackingSeq", "runtime.g trackingSeq"},
	{"ParentGoID", "runtime.g parentGoid"},
	{"GoPC", "runtime.g gopc"},
	{"StartPC", "runtime.g startpc"},
	{"MCurG", "runtime.m curg"},
	{"MOldP", "runtime.m oldp"},
	{"PGoIDCache", "runtime.p goidcache"},
}

// readOffsets builds a program with a version and reads where its runtime keeps the fields.
func readOffsets(version, arch string) ([]offset, error) {
	folder, err := os.MkdirTemp("", "gen-goroutines")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	source, program := filepath.Join(folder, "main.go"), filepath.Join(folder, "main")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		return nil, err
	}
	if _, err := run(version, arch, "build", "-o", program, source); err != nil {
		return nil, err
	}
	structs, err := runtimeStructs(program)
	if err != nil {
		return nil, err
	}
	var found []offset
	for _, f := range fields {
		value, err := offsetOf(structs, strings.Fields(f.path))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		found = append(found, offset{f.name, value})
	}
	return found, nil
}

// run gives what a go command of a version prints.
func run(version, arch string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=go"+version, "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

func runtimeStructs(program string) (map[string]*dwarf.StructType, error) {
	file, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := file.DWARF()
	if err != nil {
		return nil, err
	}
	structs := map[string]*dwarf.StructType{}
	for r := data.Reader(); ; {
		entry, err := r.Next()
		if err != nil || entry == nil {
			return structs, err
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		if entry.Tag != dwarf.TagStructType || name != "runtime.g" && name != "runtime.m" && name != "runtime.p" {
			continue
		}
		t, err := data.Type(entry.Offset)
		if err != nil {
			return nil, err
		}
		structs[name] = t.(*dwarf.StructType)
	}
}

// offsetOf gives the offset of a member, NoOffset where the outer struct has none of that name.
func offsetOf(structs map[string]*dwarf.StructType, path []string) (string, error) {
	at := structs[path[0]]
	total := int64(0)
	for i, name := range path[1:] {
		if at == nil {
			return "", errors.New("no such struct")
		}
		var found *dwarf.StructField
		for _, f := range at.Field {
			if f.Name == name {
				found = f
			}
		}
		if found == nil && i == 0 {
			return "NoOffset", nil
		}
		if found == nil {
			return "", fmt.Errorf("no member %s", name)
		}
		total += found.ByteOffset
		t := found.Type
		if def, ok := t.(*dwarf.TypedefType); ok {
			t = def.Type
		}
		at, _ = t.(*dwarf.StructType)
	}
	return fmt.Sprint(total), nil
}
