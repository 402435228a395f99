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
	f, modify, err := p.findMethod(selectModule, epollType, "modify")
	if f == nil || err != nil {
		return nil, err
	}
	return &Epoll{*f, modify}, nil
}

// findMethod finds a method of a type in the module's shared object or, where that is not loaded, in the interpreter.
// The file is nil where the method is not there.
func (p *Process) findMethod(name, class, method string) (*ProbeFile, uint64, error) {
	maps, err := p.Mappings()
	if err != nil {
		return nil, 0, err
	}
	m, shared := module(maps, name)
	if !shared {
		if p.Python == nil {
			return nil, 0, nil
		}
		m = p.Python.mapping
	}
	f, im, err := p.probeFile(m)
	if err != nil {
		return nil, 0, err
	}
	offset, found, err := im.method(class, method)
	if err == nil && found {
		return &f, offset, nil
	}
	f.Close()
	if err == nil && shared {
		err = fmt.Errorf("no method %s of %s", method, class)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("look into %s of process %d: %w", m.Path, p.PID, err)
	}
	return nil, 0, nil
}
