package main

import "apm-ebpf/internal/target"

func (ss *services) addGo(s *service) error {
	if err := s.process.Go.NoAllGs; err != nil {
		ss.log.Warn().Int("pid", s.process.PID).Err(err).Msg("goroutines that handlers start are not told")
	}
	if err := ss.probe.AddGo(s.process.PID, s.golang.kernelLayout(s.process.Go)); err != nil {
		return err
	}
	if err := ss.attachHTTP2(s); err != nil {
		s.blind = true
		ss.log.Warn().Int("pid", s.process.PID).Err(err).Msg("which goroutine serves a request of HTTP/2 cannot be told")
	}
	ss.findGoTLS(s)
	return nil
}

// http2Handlers are the functions of each HTTP/2 server between which a goroutine serves a stream.
var http2Handlers = [...]struct{ begin, end string }{
	{"net/http.(*http2serverConn).runHandler", "net/http.(*http2responseWriter).handlerDone"},
	{"golang.org/x/net/http2.(*serverConn).runHandler", "golang.org/x/net/http2.(*responseWriter).handlerDone"},
}

// attachHTTP2 has the kernel programs see which goroutine serves which stream.
func (ss *services) attachHTTP2(s *service) error {
	var names []string // found in one pass over the tables
	for _, h := range http2Handlers {
		names = append(names, h.begin, h.end)
	}
	code, err := s.process.GoFuncs(names...)
	if err != nil {
		return err
	}
	defer code.Close()
	for _, h := range http2Handlers {
		begin, begins := code.Funcs[h.begin]
		end, ends := code.Funcs[h.end]
		if !begins || !ends {
			continue
		}
		if err := ss.attachHandler(s, code, begin, end); err != nil {
			return err
		}
	}
	return nil
}

func (ss *services) attachHandler(s *service, code *target.GoCode, begin, end target.GoFunc) error {
	run, err := code.Once(begin)
	if err != nil {
		return err
	}
	done, err := code.Once(end)
	if err != nil {
		return err
	}
	return ss.probe.AttachHTTP2(s.process.PID, code.Path, run, done)
}
