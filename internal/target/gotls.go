package target

import (
	"errors"
	"fmt"
)

// GoTLS tells where crypto/tls takes and gives the bytes that TLS protects in a Go process, in bytes from the start of
// its executable.
type GoTLS struct {
	*GoCode
	Read uint64 // in (*Conn).Read: the call memmove(to, from, length) that copies what was decrypted
	// In (*Conn).Write and (*Conn).readHandshake: an instruction before which their arguments are in registers still.
	Write, Handshake uint64
}

const (
	tlsRead      = "crypto/tls.(*Conn).Read"
	tlsWrite     = "crypto/tls.(*Conn).Write"
	tlsHandshake = "crypto/tls.(*Conn).readHandshake"
)

// TLSInput is the offset of crypto/tls.Conn.input, the bytes.Reader that (*Conn).Read copies from. Who relies on it can
// check it: what is copied lies where that reader stands.
func (g *Go) TLSInput() uint32 {
	for _, v := range tlsInput {
		if g.Minor >= v.minor {
			return v.offset
		}
	}
	return 0
}

// tlsInput is that offset from each minor version of Go 1 on, in bytes.
var tlsInput = []struct {
	minor  int
	offset uint32
}{{27, 736}, {25, 712}, {23, 728}, {21, 720}, {20, 696}}

// GoTLS finds the places, which the caller must close. It gives nil where the program has no crypto/tls.
func (p *Process) GoTLS() (*GoTLS, error) {
	code, err := p.GoFuncs(tlsRead, tlsWrite, tlsHandshake)
	if err != nil {
		return nil, err
	}
	if len(code.Funcs) == 0 {
		code.Close()
		return nil, nil
	}
	t := &GoTLS{GoCode: code}
	if err := t.find(); err != nil {
		code.Close()
		return nil, fmt.Errorf("find where TLS ends in process %d (%s): %w", p.PID, p.Go.Version, err)
	}
	return t, nil
}

func (t *GoTLS) find() (err error) {
	for _, call := range t.Calls(t.Funcs[tlsRead], "bytes.(*Reader).Read") {
		if call.Callee == "runtime.memmove" {
			t.Read = call.Offset
		}
	}
	if t.Read == 0 {
		return errors.New("its crypto/tls.(*Conn).Read does not copy as it does in a usual build")
	}
	if t.Write, err = t.Once(t.Funcs[tlsWrite]); err == nil {
		t.Handshake, err = t.Once(t.Funcs[tlsHandshake])
	}
	return err
}
