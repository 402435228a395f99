package target

import "fmt"

// GoTLS tells where crypto/tls takes and gives the bytes that TLS protects in a Go process, in bytes from the start of
// its executable.
type GoTLS struct {
	*GoCode
	Read  uint64 // in (*Conn).Read: the call memmove(to, from, length) that copies what was decrypted
	Write uint64 // in (*Conn).Write: an instruction before which its arguments are in their registers still
	Input uint32 // offset of Conn.input, the bytes.Reader that Read copies from
}

// tlsInput is the offset of crypto/tls.Conn.input from each minor version of Go 1 on, in bytes. Who relies on it can
// check it: Read copies from where that reader stands.
var tlsInput = []struct {
	minor  int
	offset uint32
}{{25, 712}, {23, 728}, {21, 720}, {20, 696}}

// GoTLS finds the places, which the caller must close. It gives nil where the program has no crypto/tls.
func (p *Process) GoTLS() (*GoTLS, error) {
	const read, write = "crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Write"
	code, err := p.GoFuncs(read, write)
	if err != nil {
		return nil, err
	}
	if len(code.Funcs) == 0 {
		code.Close()
		return nil, nil
	}
	t := &GoTLS{GoCode: code}
	if err := t.find(code.Funcs[read], code.Funcs[write], p.Go.Minor); err != nil {
		code.Close()
		return nil, fmt.Errorf("find where TLS ends in process %d (%s): %w", p.PID, p.Go.Version, err)
	}
	return t, nil
}

func (t *GoTLS) find(read, write GoFunc, minor int) (err error) {
	for _, call := range t.Calls(read, "bytes.(*Reader).Read") {
		if call.Callee == "runtime.memmove" {
			t.Read = call.Offset
		}
	}
	if t.Read == 0 {
		return fmt.Errorf("its crypto/tls.(*Conn).Read does not copy as it does in a usual build")
	}
	for _, v := range tlsInput {
		if minor >= v.minor {
			t.Input = v.offset
			break
		}
	}
	t.Write, err = t.Once(write)
	return err
}
