package probe

// OpenSSL tells where in a file the functions of OpenSSL begin that the kernel programs look at, in bytes; 0: it has no
// such function.
type OpenSSL struct {
	Read, Write     uint64 // int f(ssl, buffer, size): how many bytes passed
	ReadEx, WriteEx uint64 // int f(ssl, buffer, size, *count)
	WriteEx2        uint64 // int f(ssl, buffer, size, flags, *count)

	Handshake, Shutdown, Free uint64 // f(ssl)
}

// AttachOpenSSL has the kernel programs see what passes through a copy of OpenSSL in a process.
func (p *Probe) AttachOpenSSL(pid int, file string, at OpenSSL) error {
	var uprobes []uprobe
	for _, u := range []uprobe{ // the returns first: a call that was seen to begin must be seen to end
		{"ssl_read_done", at.Read, true},
		{"ssl_read_done", at.ReadEx, true},
		{"ssl_write_done", at.Write, true},
		{"ssl_write_done", at.WriteEx, true},
		{"ssl_write_done", at.WriteEx2, true},
		{"ssl_read", at.Read, false},
		{"ssl_read_ex", at.ReadEx, false},
		{"ssl_write", at.Write, false},
		{"ssl_write_ex", at.WriteEx, false},
		{"ssl_write_ex2", at.WriteEx2, false},
		{"ssl_other", at.Handshake, false},
		{"ssl_other", at.Shutdown, false},
		{"ssl_free", at.Free, false},
	} {
		if u.offset != 0 {
			uprobes = append(uprobes, u)
		}
	}
	return p.attachUprobes(pid, file, uprobes)
}

// AttachGoTLS has the kernel programs see what passes through crypto/tls in a Go process, given its executable and the
// offsets in it of the copy inside (*Conn).Read and of instructions at the beginnings of (*Conn).Write and
// (*Conn).readHandshake.
func (p *Probe) AttachGoTLS(pid int, file string, read, write, handshake uint64) error {
	return p.attachUprobes(pid, file, []uprobe{
		{program: "go_tls_read", offset: read},
		{program: "go_tls_write", offset: write},
		{program: "go_tls_handshake", offset: handshake},
	})
}
