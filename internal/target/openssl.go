package target

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// OpenSSL tells where a copy of OpenSSL takes and gives the bytes that TLS protects (ssl/ssl_lib.c), in bytes from the
// start of the file; 0 where it has no such function, or others stand for it. Arguments are in the registers still, and
// the return address is where it was at the function's beginning. The first argument is the SSL object.
type OpenSSL struct {
	ProbeFile
	Read, Write     uint64 // int f(ssl, buffer, size): how many bytes passed
	ReadEx, WriteEx uint64 // int f(ssl, buffer, size, *count)
	WriteEx2        uint64 // int f(ssl, buffer, size, flags, *count), since 3.3

	Handshake, Shutdown, Free uint64
}

// openSSLFile names the files that may hold a copy: OpenSSL's own library, with a mark in packages that bring theirs,
// Python's _ssl with a static one, and that of cryptography, which pyOpenSSL uses.
var openSSLFile = regexp.MustCompile(`^(libssl[.-].*so(\..+)?|_ssl(\..+)?\.so|_rust\.abi3\.so)$`)

// OpenSSLs finds the copies of OpenSSL in a process whose functions can be found, but for those in files with the inodes
// that are known. The caller must close them. Errors: those of Mappings; what cannot be read is left out.
func (p *Process) OpenSSLs(known map[uint64]bool) ([]*OpenSSL, error) {
	maps, err := p.Mappings()
	if err != nil {
		return nil, err
	}
	var out []*OpenSSL
	seen := map[uint64]bool{}
	for _, m := range maps {
		may := openSSLFile.MatchString(path.Base(m.Path)) || p.Python != nil && m.Path == p.Python.Image
		if !may || known[m.Inode] || seen[m.Inode] || !strings.Contains(m.Perm, "x") {
			continue
		}
		seen[m.Inode] = true
		if o, err := p.openSSL(m); err == nil {
			out = append(out, o)
		}
	}
	return out, nil
}

func (p *Process) openSSL(m Mapping) (*OpenSSL, error) {
	f, im, err := p.probeFile(m)
	if err != nil {
		return nil, err
	}
	o := &OpenSSL{ProbeFile: f}
	other := p.Python == nil || m.Path != p.Python.Image
	if _, builtIn := im.dynamic().lookup("PyInit__ssl"); (other || builtIn) && o.find(im) {
		return o, nil
	}
	f.Close()
	return nil, fmt.Errorf("find OpenSSL in %s of process %d: no SSL_read and SSL_write", m.Path, p.PID)
}

// find looks the functions up. Without the first two there is no OpenSSL.
func (o *OpenSSL) find(im *image) bool {
	const read, readEx, write, writeEx, writeEx2 = "SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex", "SSL_write_ex2"
	const handshake, shutdown, free = "SSL_do_handshake", "SSL_shutdown", "SSL_free"
	found := im.lookup(read, readEx, write, writeEx, writeEx2, handshake, shutdown, free)
	at := func(name string) uint64 {
		offset, _ := im.returning(found[name].addr)
		return offset
	}
	o.Read, o.ReadEx, o.Write, o.WriteEx, o.WriteEx2 = at(read), at(readEx), at(write), at(writeEx), at(writeEx2)
	o.Handshake, o.Shutdown, o.Free = at(handshake), at(shutdown), at(free)
	if o.Read == 0 || o.Write == 0 {
		return false
	}
	if inner, ok := im.common(found[read], found[readEx]); ok {
		o.Read, o.ReadEx = 0, inner
	}
	if o.WriteEx2 != 0 && im.callee(found[writeEx]) == found[writeEx2].addr {
		o.WriteEx = 0
	}
	switch {
	case o.WriteEx2 != 0:
		if inner, ok := im.common(found[write], found[writeEx2]); ok {
			o.Write, o.WriteEx2 = 0, inner
		}
	default:
		if inner, ok := im.common(found[write], found[writeEx]); ok {
			o.Write, o.WriteEx = 0, inner
		}
	}
	return true
}
