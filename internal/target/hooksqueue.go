package target

import (
	"errors"
	"fmt"
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
	simpleQueue  = "_queue.SimpleQueue"
	geventSimple = "gevent._gevent_cqueue.SimpleQueue"
	dequeModule  = "_collections"
	dequeType    = "collections.deque"
)

// Queue finds where queues are filled, which the caller must close. It gives nil where _queue is not loaded, and an error
// where it cannot be read or is not as CPython has it.
func (p *Process) Queue() (*Queue, error) {
	f, at, err := p.findMethods(queueModule, simpleQueue, entryOf("put"), entryOf("put_nowait"), returnOf("get"))
	if f == nil || err != nil {
		return nil, err
	}
	if more, nowait, _ := p.findMethods(queueModule, simpleQueue, method{name: "get_nowait", returns: true, cheaply: true}); more != nil {
		more.Close()
		at = append(at, nowait...)
	}
	return &Queue{*f, at[:2], at[2:]}, nil
}

var geventPuts seen[[]uint64]

// GeventQueue finds where gevent's own queues are filled, with which gevent 25 and later replaces queue.SimpleQueue: the
// methods put of its types, with the same arguments. The caller must close it. It gives nil where there are none.
func (p *Process) GeventQueue() (*Queue, error) {
	maps, err := p.Mappings()
	if err != nil {
		return nil, err
	}
	m, loaded := module(maps, geventQueue)
	if !loaded {
		return nil, nil
	}
	f, im, err := p.probeFile(m)
	if err != nil {
		return nil, err
	}
	put, err := geventPuts.find(f.file, func() ([]uint64, error) { return im.fastMethods("put", geventSimple) })
	if err == nil && len(put) > 0 {
		return &Queue{ProbeFile: f, Put: put}, nil
	}
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("find gevent's queues in %s of process %d: %w", m.Path, p.PID, err)
	}
	return nil, nil
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
