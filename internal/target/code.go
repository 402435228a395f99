package target

import "fmt"

// CodeEnd tells where the interpreter destroys a code object, in bytes from the start of the file: the tp_dealloc of
// PyCode_Type, whose argument is the code object.
type CodeEnd struct {
	ProbeFile
	Dealloc uint64
}

// CodeEnd finds the destructor of code objects, which the caller must close.
func (p *Process) CodeEnd() (*CodeEnd, error) {
	py := p.Python
	address, err := Memory(p.PID).word(py.CodeType + py.header() + typeName + typeDealloc)
	if err != nil {
		return nil, fmt.Errorf("find where code objects end in process %d: %w", p.PID, err)
	}
	f, im, err := p.probeFile(py.mapping)
	if err != nil {
		return nil, err
	}
	if at, ok := im.entry(address - py.Bias); ok {
		return &CodeEnd{f, at}, nil
	}
	f.Close()
	return nil, fmt.Errorf("find where code objects end in process %d: %#x lies outside of the code of %s", p.PID, address, py.Image)
}
