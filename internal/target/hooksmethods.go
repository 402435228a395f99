package target

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
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
	at, missing, err := im.methodsSeen(f.file, class, methods)
	if err == nil && missing != nil && shared && !missing.cheaply && !missing.spare {
		err = fmt.Errorf("no method %s of %s", missing.name, class)
	}
	if err == nil && missing == nil {
		return &f, at, nil
	}
	f.Close()
	if err != nil {
		return nil, nil, fmt.Errorf("look into %s of process %d: %w", m.Path, p.PID, err)
	}
	return nil, nil, nil
}

var methodsIn seen[*methodPlaces]

// methodPlaces keeps what was found of the methods of a file's types.
type methodPlaces struct {
	mu sync.Mutex
	of map[string]methodPlace
}

type methodPlace struct {
	at      []uint64
	missing *method
}

// methodsSeen does what methods does, once for each file. Errors are not kept.
func (im *image) methodsSeen(file *os.File, class string, methods []method) (at []uint64, missing *method, err error) {
	places, err := methodsIn.find(file, func() (*methodPlaces, error) { return &methodPlaces{of: map[string]methodPlace{}}, nil })
	if err != nil {
		return nil, nil, err
	}
	places.mu.Lock()
	defer places.mu.Unlock()
	key := fmt.Sprint(class, methods)
	if place, known := places.of[key]; known {
		return slices.Clone(place.at), place.missing, nil
	}
	if at, missing, err = im.methods(class, methods); err == nil {
		places.of[key] = methodPlace{slices.Clone(at), missing}
	}
	return at, missing, err
}

// methods gives the offsets in the file of a type's methods, or the first that is missing.
func (im *image) methods(class string, methods []method) (at []uint64, missing *method, err error) {
	p, err := im.pointers()
	if err != nil {
		return nil, nil, err
	}
	types := p.toNames(class)[class]
	for i := range methods {
		offset, found := p.method(types, methods[i])
		if !found {
			return nil, &methods[i], nil
		}
		at = append(at, offset)
	}
	return at, nil, nil
}

// method gives the offset in the file of a method of the type whose name is pointed to at one of refs; not found where there
// is none, or more than one.
func (p *pointers) method(refs []uint64, m method) (offset uint64, found bool) {
	im := p.im
	var all []uint64
	for _, ref := range refs {
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
	return only(all)
}

// fastMethods gives the offsets in the file of all methods of a name that take their arguments as vectorcall passes them,
// whatever their types, where one of a given name is among the file's. Cython keeps the PyMethodDef of each by itself.
func (im *image) fastMethods(name, class string) (at []uint64, err error) {
	const flags, fastKeywords = 16, 0x82 // PyMethodDef.ml_flags, METH_FASTCALL | METH_KEYWORDS (CPython Include/methodobject.h)
	p, err := im.pointers()
	if err != nil {
		return nil, err
	}
	refs := p.toNames(name, class)
	if len(refs[class]) == 0 {
		return nil, nil
	}
	for _, ref := range refs[name] {
		var how uint32
		if readStruct(im.at, int64(ref+flags), &how) == nil && how == fastKeywords {
			at = p.addEntry(at, ref+methMeth)
		}
	}
	return at, nil
}

// hasText tells whether a C string lies at an address.
func (im *image) hasText(at uint64, text string) bool {
	want := append([]byte(text), 0)
	got := make([]byte, len(want))
	n, _ := im.at.ReadAt(got, int64(at))
	return n == len(got) && bytes.Equal(got, want)
}
