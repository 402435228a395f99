package target

import "fmt"

// Contexts tells where Python copies the contextvars.Context in force, in bytes from the start of the file:
// PyContext_CopyCurrent (CPython Python/context.c), which is to be probed as it returns the copy.
type Contexts struct {
	ProbeFile
	Copies uint64
}

const copyCurrent = "PyContext_CopyCurrent"

// Contexts finds the function, which extensions call by its name. The caller must close it. Errors: that it is not found,
// as before 3.7.
func (p *Process) Contexts() (*Contexts, error) {
	f, im, err := p.probeFile(p.Python.mapping)
	if err != nil {
		return nil, err
	}
	if at, ok := im.returning(im.lookup(copyCurrent)[copyCurrent].addr); ok {
		return &Contexts{f, at}, nil
	}
	f.Close()
	return nil, fmt.Errorf("no %s in %s of process %d", copyCurrent, p.Python.Image, p.PID)
}

// Trio tells, of the same file, what trio starts tasks and steps them by. It runs each in a Context of its own.
type Trio struct {
	ProbeFile
	Copies []uint64 // PyContext_CopyCurrent and Context.copy(self), to be probed as they return the copy
	Run    uint64   // Context.run(self, args, nargs, kwnames): args[0] is the send of a task's coroutine
}

// Trio finds the functions. The caller must close it. Errors: that one of them is not found.
func (p *Process) Trio() (*Trio, error) {
	c, err := p.Contexts()
	if err != nil {
		return nil, err
	}
	for _, class := range []string{"Context", "_contextvars.Context"} { // up to 3.11, from 3.12 on
		f, at, err := p.findMethods("", class, returnOf("copy"), entryOf("run"))
		if err != nil || f == nil {
			continue
		}
		f.Close()
		return &Trio{c.ProbeFile, []uint64{c.Copies, at[0]}, at[1]}, nil
	}
	c.Close()
	return nil, fmt.Errorf("no Context.copy and run in %s of process %d", p.Python.Image, p.PID)
}
