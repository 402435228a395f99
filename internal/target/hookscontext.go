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
