package target

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
