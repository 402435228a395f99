package target

import "bytes"

// Queue tells where something is put into a queue.SimpleQueue, by which concurrent.futures hands work to its threads: the
// method put(self, args, nargs, kwnames) of _queue.SimpleQueue (CPython Modules/_queuemodule.c), in bytes from the start
// of the file.
type Queue struct {
	ProbeFile
	Put uint64
}

const simpleQueue = "_queue.SimpleQueue"

// tpMethods are PyMethodDefs of 32 bytes, which end with one that has no name.
var tpMethods = slot{64, 208}

const (
	methodSize = 32
	maxMethods = 64
)

// Queue finds where queues are filled, which the caller must close. It gives nil where _queue is not loaded, and an error
// where it cannot be read or is not as CPython has it.
func (p *Process) Queue() (*Queue, error) {
	f, put, err := p.findMethod(queueModule, simpleQueue, "put")
	if f == nil || err != nil {
		return nil, err
	}
	return &Queue{*f, put}, nil
}

// method gives the offset in the file of a type's method; not found where there is none, or more than one type has
// the name.
func (im *image) method(class, method string) (offset uint64, found bool, err error) {
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
			if im.hasText(name, method) {
				all = p.addEntry(all, table+i*methodSize+methMeth)
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
