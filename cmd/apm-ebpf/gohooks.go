package main

import (
	"fmt"

	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/target"
)

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
	s.golang.reader.Follow = func(goid uint64) { ss.probe.FollowGoroutine(s.process.PID, goid) }
	s.golang.tellDepth = func(code uint64, depth uint32) error { return ss.probe.GoDepth(s.process.PID, code, depth) }
	if s.golang.layout.ParentGoID == goroutine.NoOffset && s.process.Go.NoAllGs == nil {
		if err := ss.attachStarts(s); err != nil {
			ss.log.Warn().Int("pid", s.process.PID).Err(err).Msg("goroutines that handlers start are not told")
		}
	}
	return nil
}

// attachStarts has the kernel programs tell who starts a goroutine, where Go's runtime does not.
func (ss *services) attachStarts(s *service) error {
	const newproc, runqput = "runtime.newproc.func1", "runtime.runqput"
	code, err := s.process.GoFuncs(newproc)
	if err != nil {
		return err
	}
	defer code.Close()
	calls := code.Calls(code.Funcs[newproc], runqput)
	if len(calls) != 1 {
		return fmt.Errorf("%s calls %s %d times", newproc, runqput, len(calls))
	}
	pid := s.process.PID
	if err := ss.probe.AttachGoStarts(pid, code.Path, calls[0].Offset); err != nil {
		return err
	}
	s.golang.reader.FollowStarts(s.process.Go.AllGs, func(goid uint64) uint64 { return ss.probe.GoParent(pid, goid) })
	return nil
}

// blindToHandlers tells of requests whose owner will be undecided, as each of them will say.
func (ss *services) blindToHandlers(s *service, protocol string, err error) {
	ss.log.Warn().Int("pid", s.process.PID).Err(err).Msgf("which goroutine serves a request of %s cannot be told", protocol)
}

// http2Handlers are the functions of each HTTP/2 server between which a goroutine serves a stream.
var http2Handlers = [...]struct {
	begin, end string
	internal   bool
}{
	{"net/http.(*http2serverConn).runHandler", "net/http.(*http2responseWriter).handlerDone", false},
	{"net/http/internal/http2.(*serverConn).runHandler", "net/http/internal/http2.(*responseWriter).handlerDone", true}, // Go 1.27
	{"golang.org/x/net/http2.(*serverConn).runHandler", "golang.org/x/net/http2.(*responseWriter).handlerDone", false},
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
		if err := ss.attachHandler(s, code, h.internal, begin, end); err != nil {
			return err
		}
	}
	return nil
}

func (ss *services) attachHandler(s *service, code *target.GoCode, internal bool, begin, end target.GoFunc) error {
	run, err := code.Once(begin)
	if err != nil {
		return err
	}
	done, err := code.Once(end)
	if err != nil {
		return err
	}
	return ss.probe.AttachHTTP2(s.process.PID, code.Path, internal, run, done)
}
