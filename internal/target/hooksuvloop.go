package target

// UVLoop tells where uvloop takes what is to be written to a connection: the methods write and writelines of
// uvloop.loop.UVStream (uvloop handles/stream.pyx), in bytes from the start of the file.
type UVLoop struct {
	ProbeFile
	Writes []uint64
}

const (
	uvloopPackage = "uvloop"
	uvloopModule  = "loop"
	uvStreamType  = "uvloop.loop.UVStream"
)

// UVLoop finds the methods in a process that has loaded uvloop. The caller must close it. It gives nil where there are
// none, as from 0.23 on, which writes at once.
func (p *Process) UVLoop() (*UVLoop, error) {
	f, at, err := p.findMethods(uvloopModule, uvStreamType, method{name: "write", spare: true}, method{name: "writelines", spare: true})
	if f == nil || err != nil {
		return nil, err
	}
	return &UVLoop{*f, at}, nil
}
