package target

import "fmt"

// Epoll tells where Python changes what it waits for on a descriptor: the method modify(self, args, nargs, kwnames) of
// select.epoll (CPython Modules/selectmodule.c), in bytes from the start of the file.
type Epoll struct {
	ProbeFile
	Modify uint64
}

const (
	selectModule = "select"
	epollType    = "select.epoll"
)

// Epoll finds the method, which the caller must close. It gives nil where there is none.
func (p *Process) Epoll() (*Epoll, error) {
	f, at, err := p.findMethods(selectModule, epollType, entryOf("modify"))
	if f == nil || err != nil {
		return nil, err
	}
	return &Epoll{*f, at[0]}, nil
}

// findMethods finds methods of a type in the module's shared object or, where that is not loaded, in the interpreter.
// The file is nil where they are not there.
func (p *Process) findMethods(name, class string, methods ...method) (*ProbeFile, []uint64, error) {
	maps, err := p.Mappings()
	if err != nil {
		return nil, nil, err
	}
	m, shared := module(maps, name)
	if !shared {
		if p.Python == nil {
			return nil, nil, nil
		}
		m = p.Python.mapping
	}
	f, im, err := p.probeFile(m)
	if err != nil {
		return nil, nil, err
	}
	var at []uint64
	for _, method := range methods {
		offset, found, err := im.method(class, method)
		if err == nil && !found && shared && !method.cheaply {
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
