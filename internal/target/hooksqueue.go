package target

import (
	"bytes"
	"errors"
	"slices"
)

// Queue tells where something is put into a queue.SimpleQueue, by which concurrent.futures hands work to its threads, and
// what takes it: the methods put(self, args, nargs, kwnames) and put_nowait of _queue.SimpleQueue, and get and
// get_nowait, where it can be probed cheaply, which are to be probed as they return (CPython Modules/_queuemodule.c), in
// bytes from the start of the file.
type Queue struct {
	ProbeFile
	Put, Get []uint64
}

// Deque tells where queue.Queue puts and takes: the methods append(self, item) and popleft(self) of collections.deque
// (CPython Modules/_collectionsmodule.c), in bytes from the start of the file.
type Deque struct {
	ProbeFile
	Append, PopLeft uint64
}

const (
	simpleQueue = "_queue.SimpleQueue"
	dequeModule = "_collections"
	dequeType   = "collections.deque"
)

// tpMethods are PyMethodDefs of 32 bytes, which end with one that has no name.
var tpMethods = slot{64, 208}

const (
	methodSize = 32
	maxMethods = 64
)

// Queue finds where queues are filled, which the caller must close. It gives nil where _queue is not loaded, and an error
// where it cannot be read or is not as CPython has it.
func (p *Process) Queue() (*Queue, error) {
	f, at, err := p.findMethods(queueModule, simpleQueue, entryOf("put"), entryOf("put_nowait"), returnOf("get"))
	if f == nil || err != nil {
		return nil, err
	}
	if more, nowait, _ := p.findMethods(queueModule, simpleQueue, method{"get_nowait", true, true}); more != nil {
		more.Close()
		at = append(at, nowait...)
	}
	return &Queue{*f, at[:2], at[2:]}, nil
}

// Deque finds where deques are filled and emptied, which the caller must close. Errors: that they are not found.
func (p *Process) Deque() (*Deque, error) {
	f, at, err := p.findMethods(dequeModule, dequeType, entryOf("append"), entryOf("popleft"))
	if err == nil && f == nil {
		err = errors.New("no " + dequeType)
	}
	if err != nil {
		return nil, err
	}
	return &Deque{*f, at[0], at[1]}, nil
}

// method is one to be probed where it begins, or as it returns; perhaps only where it begins with a push, so that this is
// cheap.
type method struct {
	name    string
	returns bool
	cheaply bool
}

func entryOf(name string) method  { return method{name: name} }
func returnOf(name string) method { return method{name: name, returns: true} }

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
