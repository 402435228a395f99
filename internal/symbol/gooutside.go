package symbol

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"apm-ebpf/internal/target"
)

// goOutside names what is not Go's of the code that a Go process runs.
type goOutside struct {
	process *target.Process
	code    []target.Code // ascending
	read    time.Time
	frames  map[string]*Func
}

// readAgain is how often the mappings may be looked at for code that is not known yet: addresses that a walk through C
// gave may be anything.
const readAgain = time.Second

// image gives a frame that says where code comes from: "[cgo]" for C that is linked into the executable, "[libz.so.1]".
// It gives nil for the vDSO, which the function that calls it stands for.
func (o *goOutside) image(pc uint64) *Func {
	name, ok := o.find(pc)
	if !ok && time.Since(o.read) >= readAgain {
		o.read = time.Now()
		o.code, _ = o.process.Code() // what cannot be read is unknown
		name, ok = o.find(pc)
	}
	switch {
	case !ok || name == "":
		return Unknown
	case name == "[vdso]":
		return nil
	case name == o.process.Exe:
		name = "[cgo]"
	case !strings.HasPrefix(name, "["):
		name = "[" + path.Base(name) + "]"
	}
	fn := o.frames[name]
	if fn == nil {
		fn = &Func{Name: name}
		o.frames[name] = fn
	}
	return fn
}

func (o *goOutside) find(pc uint64) (name string, ok bool) {
	i, found := slices.BinarySearchFunc(o.code, pc, func(c target.Code, pc uint64) int { return cmp.Compare(c.Start, pc) })
	if !found {
		i--
	}
	if i < 0 || pc >= o.code[i].End {
		return "", false
	}
	return o.code[i].Name, true
}
