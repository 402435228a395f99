package target

import (
	"bytes"
	"fmt"
	"slices"
)

// tpMethods are PyMethodDefs of 32 bytes, which end with one that has no name.
var tpMethods = slot{64, 208}

const (
	methodSize = 32
	maxMethods = 64
)

// method is one to be probed where it begins, or as it returns; perhaps only where it begins with a push, so that this is
// cheap.
type method struct {
	name    string
	returns bool
	cheaply bool
	spare   bool // releases of its module may lack it
}

func entryOf(name string) method  { return method{name: name} }
func returnOf(name string) method { return method{name: name, returns: true} }

// findMethods finds methods of a type in the module's shared object or, where that is not loaded, in the interpreter.
// The file is nil where they are not there.
func (p *Process) findMethods(name, class string, methods ...method) (*ProbeFile, []uint64, error) {
	maps, err := p.Mappings()
	if err != nil {
		return nil, nil, err
	}
	m, shared := p.moduleOrImage(maps, name)
	f, im, err := p.probeFile(m)
	if err != nil {
		return nil, nil, err
	}
	var at []uint64
	for _, method := range methods {
		offset, found, err := im.method(class, method)
		if err == nil && !found && shared && !method.cheaply && !method.spare {
			err = fmt.Errorf("no method %s of %s", method.name, class)
		}
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("look into %s of process %d: %w", m.Path, p.PID, err)
		}
		if found {
			at = append(at, offset)
		}
	}
	if len(at) < len(methods) {
		f.Close()
		return nil, nil, nil
	}
	return &f, at, nil
}

// method gives the offset in the file of a type's method; not found where there is none, or more than one type has
// the name.
func (im *image) method(class string, m method) (offset uint64, found bool, err error) {
	p, err := im.pointers()
	if err != nil {
		return 0, false, err
	}
	var all []uint64
	for _, ref := range p.toNames(class)[class] {
		at := p.specSlot(ref, tpMethods.number)
		if p.isType(ref) {
			at = ref + tpMethods.offset
		}
		table, ok := p.load(at)
		for i := uint64(0); ok && at != 0 && i < maxMethods; i++ {
			name, named := p.load(table + i*methodSize)
			if !named || name == 0 {
				break
			}
			if !im.hasText(name, m.name) {
				continue
			}
			if !m.returns {
				all = p.addEntry(all, table+i*methodSize+methMeth)
			} else if function, ok := p.load(table + i*methodSize + methMeth); ok && (!m.cheaply || im.pushes(function)) {
				if at, isCode := im.returning(function); isCode && !slices.Contains(all, at) {
					all = append(all, at)
				}
			}
		}
	}
	offset, found = only(all)
	return offset, found, nil
}

// hasText tells whether a C string lies at an address.
func (im *image) hasText(at uint64, text string) bool {
	want := append([]byte(text), 0)
	got := make([]byte, len(want))
	n, _ := im.at.ReadAt(got, int64(at))
	return n == len(got) && bytes.Equal(got, want)
}
