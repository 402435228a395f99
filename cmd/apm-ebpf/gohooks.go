package main

import "apm-ebpf/internal/target"

func (ss *services) addGo(s *service) error {
	if err := s.process.Go.NoAllGs; err != nil {
		ss.log.Warn().Int("pid", s.process.PID).Err(err).Msg("goroutines that handlers start are not told")
	}
	grpc, err := s.process.GoGRPC()
	if err != nil {
		ss.blindToHandlers(s, "gRPC", err)
	} else if grpc != nil {
		defer grpc.Close()
	}
	if err := ss.probe.AddGo(s.process.PID, s.golang.kernelLayout(s.process.Go, grpc)); err != nil {
		return err
	}
	if grpc != nil {
		if err := ss.probe.AttachGRPC(s.process.PID, grpc.Path, grpc.Handle, grpc.Status); err != nil {
			ss.blindToHandlers(s, "gRPC", err)
		}
	}
	if err := ss.attachHTTP2(s); err != nil {
		ss.blindToHandlers(s, "HTTP/2", err)
	}
	ss.findGoTLS(s)
	return nil
}

// blindToHandlers tells of requests whose owner will be undecided, as each of them will say.
func (ss *services) blindToHandlers(s *service, protocol string, err error) {
	ss.log.Warn().Int("pid", s.process.PID).Err(err).Msgf("which goroutine serves a request of %s cannot be told", protocol)
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
