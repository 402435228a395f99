package main

import (
	"time"

	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/target"
)

// findTLS has the kernel programs see the clear bytes of TLS connections of a service, as soon as it has OpenSSL.
func (ss *services) findTLS(s *service) {
	copies, err := s.process.OpenSSLs(s.openSSL)
	if err != nil {
		return // it has ended, which an event will tell
	}
	for _, c := range copies {
		s.openSSL[c.Inode] = true
		if err := ss.attachOpenSSL(s, c); err != nil && !gone(err) {
			ss.blindToTLS(s, err)
		}
	}
}

// expectTLS has a service looked at again that may load OpenSSL yet.
func (ss *services) expectTLS(s *service, now time.Time) {
	pid := s.process.PID
	if s.golang != nil || len(s.openSSL) > 0 {
		delete(ss.young, pid)
		return
	}
	if ss.young[pid] == nil {
		ss.young[pid] = &visit{first: now, wait: tlsVisit}
	}
	ss.later(pid, now)
}

func (ss *services) attachOpenSSL(s *service, o *target.OpenSSL) error {
	defer o.Close()
	return ss.probe.AttachOpenSSL(s.process.PID, o.Path, probe.OpenSSL{
		Read: o.Read, ReadEx: o.ReadEx,
		Write: o.Write, WriteEx: o.WriteEx, WriteEx2: o.WriteEx2,
		Handshake: o.Handshake, Shutdown: o.Shutdown, Free: o.Free,
	})
}

// findGoTLS does the same for a Go service, which has crypto/tls from the start or never.
func (ss *services) findGoTLS(s *service) {
	t, err := s.process.GoTLS()
	if t != nil {
		err = ss.probe.AttachGoTLS(s.process.PID, t.Path, t.Read, t.Write, t.Handshake)
		t.Close()
	}
	if err != nil { // it may serve none
		s.noGoTLS = err
		ss.log.Debug().Int("pid", s.process.PID).Err(err).Msg("HTTPS requests would not be recorded")
	}
}

// sawTLS looks for what ends TLS in a process that was seen to serve it, and tells where that cannot be seen.
func (ss *services) sawTLS(pid uint32, unseen bool) {
	s := ss.known[int(pid)]
	if s == nil {
		s = ss.look(int(pid), time.Now())
	}
	if s == nil {
		return
	}
	known := len(s.openSSL)
	if s.golang == nil {
		ss.findTLS(s)
	}
	if unseen && len(s.openSSL) == known || s.golang == nil && len(s.openSSL) == 0 || s.noGoTLS != nil {
		ss.blindToTLS(s, s.noGoTLS)
	}
}

// blindToTLS tells once that requests are missing.
func (ss *services) blindToTLS(s *service, err error) {
	if s.toldBlind {
		return
	}
	s.toldBlind = true
	ss.log.Warn().Int("pid", s.process.PID).Err(err).
		Msg("HTTPS requests of this process are not recorded: TLS ends in it, but not in an OpenSSL or crypto/tls whose functions can be found")
}
