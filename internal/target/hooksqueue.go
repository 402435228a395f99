package target

import "errors"

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
