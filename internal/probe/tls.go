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
	o := &p.objects
	var uprobes []uprobe
	for _, u := range []uprobe{ // the returns first: a call that was seen to begin must be seen to end
		{o.SslReadDone, at.Read, true},
		{o.SslReadDone, at.ReadEx, true},
		{o.SslWriteDone, at.Write, true},
		{o.SslWriteDone, at.WriteEx, true},
		{o.SslWriteDone, at.WriteEx2, true},
		{o.SslRead, at.Read, false},
		{o.SslReadEx, at.ReadEx, false},
		{o.SslWrite, at.Write, false},
		{o.SslWriteEx, at.WriteEx, false},
		{o.SslWriteEx2, at.WriteEx2, false},
		{o.SslOther, at.Handshake, false},
		{o.SslOther, at.Shutdown, false},
		{o.SslFree, at.Free, false},
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
		{program: p.objects.GoTlsRead, offset: read},
		{program: p.objects.GoTlsWrite, offset: write},
		{program: p.objects.GoTlsHandshake, offset: handshake},
	})
}
