package main

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"

	"apm-ebpf/internal/goroutine"
	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/symbol"
	"apm-ebpf/internal/target"
	"apm-ebpf/internal/trace"
)

// goService is what the agent has of a Go process: names of its program counters, and its goroutines, which are read
// from outside while a request is slow.
type goService struct {
	symbols *symbol.Go
	layout  *goroutine.Layout
	back    *target.GoCallback // nil: C does not call Go
	reader  *goroutine.Reader
	waiting map[uint64]waiting // by goroutine, or what event loops read by connection
	on      map[uint64]int     // how many of them by connection
	crew    crew
	stack   trace.Stack
	lines   bool
	// tellDepth has the kernel programs know how far the stack pointer is below the return address in a stretch of code.
	tellDepth func(code uint64, depth uint32) error
	enters    uint8 // trace.Goroutine.Enters in a call that reads or writes
	starter   []trace.Frame
	next      uint64 // when goroutines are to be looked at, CLOCK_MONOTONIC, ns
}

// waiting is a request that was not seen to end.
type waiting struct {
	connection uint64
	g          uint64
	ran        uint8
	read       bool // by the goroutine
	get        bool
	watched    bool
	begun      uint64 // CLOCK_MONOTONIC, ns
	answering  bool
	answered   uint64    // since when its answer is written as far as that can be told, 0: it is not
	left       int64     // bytes of it that are to follow, where its head tells
	chunked    bool      // it comes in chunks, so that its end shows
	goids      [2]uint64 // of goroutines that were started next when it ended, from and to; 0: not known
}

// streaming is how long after it was begun an answer that goes on makes its request a slow one again, ns: longer than it
// takes to learn that it has ended.
const streaming = uint64(2 * pollEvery)

func newGoService(p *target.Process, lines bool) (*goService, error) {
	layout, err := goroutine.LayoutOf(p.Go.Minor)
	if err != nil {
		return nil, fmt.Errorf("read goroutines of process %d: %w", p.PID, err)
	}
	symbols, err := symbol.NewGo(p)
	if err != nil {
		return nil, err
	}
	s := &goService{symbols: symbols, layout: layout, lines: lines, waiting: map[uint64]waiting{}, on: map[uint64]int{}, crew: newCrew()}
	if layout.SyscallsCount() {
		s.enters = 1
	}
	if s.back, err = p.GoCallback(); err != nil {
		return nil, fmt.Errorf("find what C calls in process %d: %w", p.PID, err)
	}
	s.reader = goroutine.NewReader(p.PID, layout, p.Go.AllGs)
	s.reader.SPDelta, s.reader.Skip, s.reader.Interrupted = symbols.SPDelta, s.isBackground, symbols.Interrupted
	s.reader.System = s.isSystem
	if s.back != nil {
		s.reader.CalledBack, s.reader.CallbackSkip = s.back.Has, s.back.Skip
	}
	return s, nil
}

// isBackground tells by its go statement a goroutine that net/http has wait for the connection's end while the handler runs.
func (s *goService) isBackground(statement uint64) bool {
	frames := s.symbols.Frames(statement, true)
	return len(frames) > 0 && frames[0].Func.Name == "net/http.(*connReader).startBackgroundRead"
}

// isSystem tells by its entry a goroutine of the runtime itself, as the garbage collector's workers, which whoever needs them
// first starts (Go src/runtime/traceback.go, isSystemGoroutine). A coroutine is its starter's.
func (s *goService) isSystem(entry uint64) bool {
	frames := s.symbols.Frames(entry, false)
	if len(frames) == 0 {
		return false
	}
	name := frames[len(frames)-1].Func.Name
	return strings.HasPrefix(name, "runtime.") && name != "runtime.corostart"
}

// kernelLayout is of a program without a gRPC server where grpc is nil.
func (s *goService) kernelLayout(p *target.Go, grpc *target.GoGRPC) probe.GoLayout {
	layout := probe.GoLayout{
		TlsG:          p.TLSOffset,
		G_m:           s.layout.M,
		G_schedSp:     s.layout.SchedSP,
		G_schedPc:     s.layout.SchedPC,
		G_schedBp:     s.layout.SchedBP,
		G_status:      s.layout.Status,
		G_goid:        s.layout.GoID,
		G_trackingSeq: s.layout.TrackingSeq,
		M_curg:        s.layout.MCurG,
		M_oldp:        s.layout.MOldP,
		P_goidcache:   s.layout.PGoIDCache,
		TlsInput:      p.TLSInput(),
	}
	if s.back != nil {
		layout.Callback, layout.CallbackSize = s.back.Entry, uint32(s.back.Size)
		layout.CallbackSkip, layout.CallFrame = uint32(s.back.Skip), uint32(s.back.Frame)
	}
	if grpc != nil {
		layout.GrpcConn, layout.GrpcStream, layout.GrpcId = grpc.Conn, grpc.Stream, grpc.ID
		if grpc.StreamPointer {
			layout.GrpcStreamAt = 1
		}
	}
	return layout
}

// stackOf names a stack. Where the innermost function has no frame yet, its caller is missing among the program counters,
// and callers has it; nil for a stack that was read from outside. Of a truncated one the outermost functions are missing, and
// where gap is not 0, some that follow so many.
// The result is reused by the next call.
func (s *goService) stackOf(pcs []uint64, callers *[2]uint64, gap int, truncated bool) *trace.Stack {
	frames := s.stack.Frames[:0]
	if truncated {
		frames = append(frames, trace.Frame{Func: trace.Truncated})
	}
	for i := len(pcs) - 1; i >= 0; i-- {
		if i == gap-1 {
			frames = append(frames, trace.Frame{Func: trace.Truncated})
		}
		if i == 0 && callers != nil {
			if missing := s.frameless(pcs[0], callers); missing != 0 && (len(pcs) < 2 || pcs[1] != missing) {
				frames = s.name(frames, s.symbols.Frames(missing, true))
			}
		}
		if i+1 < len(pcs) && s.back.Has(pcs[i]) && s.back.Caller != 0 {
			frames = s.name(frames, s.symbols.Frames(s.back.Caller, false))
		}
		frames = s.name(frames, s.symbols.Frames(pcs[i], i > 0 || callers == nil))
	}
	s.stack.Frames = frames
	return &s.stack
}

// frameless gives the return address of a function that has no frame at pc, 0 where it has one.
func (s *goService) frameless(pc uint64, callers *[2]uint64) uint64 {
	switch delta := s.symbols.SPDelta(pc); {
	case delta == 0:
		return callers[0]
	case delta == 8 && runtime.GOARCH == "amd64": // it has pushed the frame pointer
		if s.symbols.SPDelta(callers[1]) < 0 { // or a probe's trap is in place of that, and as long
			return callers[0]
		}
		return callers[1]
	}
	return 0
}

// name appends frames, which come innermost first.
func (s *goService) name(to []trace.Frame, frames []symbol.GoFrame) []trace.Frame {
	for i := len(frames) - 1; i >= 0; i-- {
		frame := trace.Frame{Func: frames[i].Func}
		if s.lines {
			frame.Line = frames[i].Line
		}
		to = append(to, frame)
	}
	return to
}

// arrived takes note of requests as they begin and are answered.
func (s *goService) arrived(e *probe.Event) {
	switch e.Kind {
	case probe.KindRecv:
		s.received(e)
	case probe.KindServe:
		serve := e.Serve()
		s.begins(serve.Goroutine, waiting{connection: serve.Connection, g: serve.G, ran: uint8(serve.Ran), begun: e.Time})
	case probe.KindSend:
		s.sent(e)
	case probe.KindServed:
		s.answered(e.Serve().Goroutine, e.Time)
	}
}

// received takes note of who reads what may be a request. It need not be who read its first byte: net/http reads one ahead
// in a goroutine of its own ((*connReader).backgroundRead). The goroutine that reads HTTP/2 serves none of its requests.
func (s *goService) received(e *probe.Event) {
	io := e.IO()
	if io.Flags&probe.Framed != 0 || io.Flags&probe.Sampled == 0 || io.Length <= 1 {
		return
	}
	by := io.Goroutine
	if s.crew.isLoop(by) {
		by = io.Connection
	}
	w, ok := s.waiting[by]
	if ok && !w.answering && !e.Begins() {
		return
	}
	head, _ := e.Data()
	if ok && w.answering && w.answered == 0 && w.connection == io.Connection && !beginsRequest(head) {
		return // of a body, while the answer goes on
	}
	s.begins(by, waiting{connection: io.Connection, g: io.G, ran: uint8(io.Ran), read: true, begun: e.Time, get: isGet(head)})
}

// begins takes note of a request in place of the goroutine's last one, or the connection's.
func (s *goService) begins(by uint64, w waiting) {
	if last, ok := s.waiting[by]; ok {
		if last.watched && by != last.connection {
			s.reader.Turns(by, w.begun)
		}
		s.forget(by, last)
	}
	s.waiting[by] = w
	s.on[w.connection]++
}

// beginsRequest tells what looks like a request's first line, of which the first letter may have been read before.
func beginsRequest(head []byte) bool {
	const longest = len("PROPPATCH") // of the usual methods
	method, target, found := bytes.Cut(head[:min(len(head), longest+2)], []byte(" "))
	if !found || len(method) < 2 || len(target) == 0 {
		return false
	}
	for _, c := range method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// isGet tells a request without a body, for which net/http starts its background read before it calls the handler. That of
// the request before may have read its first byte. The tracer, which knows for certain, learns of it too late.
func isGet(head []byte) bool {
	const method = "GET /"
	return bytes.HasPrefix(head, []byte(method)) || bytes.HasPrefix(head, []byte(method[1:]))
}

// sent takes note of the answer that begins, and of one whose write shows that it goes on.
func (s *goService) sent(e *probe.Event) {
	io := e.IO()
	by := io.Goroutine
	w, ok := s.waiting[by]
	if !ok {
		by = io.Connection
		if w, ok = s.waiting[by]; ok {
			s.crew.answers(io.Goroutine, runtimeG{io.G, uint8(io.Ran)})
		}
	}
	if !ok && io.Goids[0] != 0 { // of a request that is not sampled
		s.reader.Passed(io.Goroutine, io.Goids[0], io.Goids[1])
	}
	goesOn := io.Flags&(probe.Short|probe.Chunk) != 0
	if !ok || w.answered != 0 && !goesOn {
		return
	}
	w.goids = io.Goids
	if w.answering {
		w.left -= io.Length
		goesOn = goesOn || w.chunked && !endsChunks(e)
	} else {
		head, _ := e.Data()
		switch {
		case isInterim(head):
			return
		case io.Length >= bufferOfGo, bytes.HasPrefix(head, []byte(http10)):
			w.left = leftOf(head, io.Length)
		}
		w.chunked = goesOn && bytes.Contains(head, []byte("chunked\r\n"))
		goesOn = w.chunked || io.Flags&probe.Short != 0
	}
	goesOn = goesOn || w.left > 0
	w.answering, w.answered = true, e.Time
	if goesOn {
		w.answered = 0
	}
	s.waiting[by] = w
}

// endsChunks tells a write that ends like the last chunk.
func endsChunks(e *probe.Event) bool {
	const end = "\r\n\r\n"
	head, tail := e.Data()
	if len(tail) >= len(end) {
		return bytes.HasSuffix(tail, []byte(end))
	}
	rest := len(end) - len(tail)
	return bytes.HasSuffix(head, []byte(end[:rest])) && string(tail) == end[rest:]
}

// bufferOfGo is what net/http and fasthttp collect of an answer before they write any of it, bytes: what is longer may have
// been written in part.
const bufferOfGo = 4096

// http10 begins answers that end with the connection, unless they tell their length: nginx asks for them.
const http10 = "HTTP/1.0 "

// leftOf tells how many bytes of an answer are to follow its first write, by the length that its head tells, at most.
func leftOf(head []byte, written int64) int64 {
	head, _, complete := bytes.Cut(head, []byte("\r\n\r\n"))
	_, value, told := bytes.Cut(head, []byte("\r\nContent-Length: "))
	switch {
	case !complete:
		return 0
	case !told && bytes.HasPrefix(head, []byte(http10)):
		return math.MaxInt64
	case !told:
		return 0
	}
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	length, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return 0
	}
	return int64(len(head)+len("\r\n\r\n")) + length - written
}

// isInterim tells an answer that another follows, as 100 Continue.
func isInterim(head []byte) bool {
	const status = len("HTTP/1.1 ")
	return len(head) > status+2 && head[status] == '1' && string(head[status:status+3]) != "101"
}

func (s *goService) answered(goroutine, now uint64) {
	if w, ok := s.waiting[goroutine]; ok && w.answered == 0 {
		w.answered = now
		s.waiting[goroutine] = w
	}
}

// ended takes the end of a request.
func (s *goService) ended(r *trace.Request) {
	by := r.Goroutine.ID
	if r.Looped {
		s.findsLoop(by, r.Goroutine)
		by = r.Connection()
	}
	w, ok := s.waiting[by]
	if !ok { // who has read it is no more, which was seen when it had been answered
		by = r.Connection()
		w, ok = s.waiting[by]
	}
	if !ok || w.begun > r.End {
		return // its goroutine has begun another
	}
	if r.Pipelined() {
		if w.goids[0] != 0 {
			s.reader.Passed(by, w.goids[0], w.goids[1])
		}
		s.waiting[by] = waiting{connection: w.connection, g: w.g, ran: w.ran, read: true, watched: w.watched, begun: r.End}
		return
	}
	s.forget(by, w)
}

// findsLoop takes that a goroutine is an event loop: what it has read waits on the connection from now on.
func (s *goService) findsLoop(id uint64, loop trace.Goroutine) {
	s.crew.loops[id] = runtimeG{loop.Address, loop.Left}
	w, ok := s.waiting[id]
	if !ok {
		return
	}
	if w.watched {
		s.crew.watched[id] = true
	}
	delete(s.waiting, id)
	if last, ok := s.waiting[w.connection]; ok {
		s.forget(w.connection, last)
	}
	s.waiting[w.connection] = w
}

// handsOn takes that a goroutine is no more. Where it has read a request that is not answered yet, another will do that, to
// which it has given the connection, as one that finds out the protocol does (github.com/soheilhy/cmux).
func (s *goService) handsOn(id uint64) {
	w, ok := s.waiting[id]
	if !ok {
		return
	}
	s.forget(id, w)
	if w.read && !w.answering && s.on[w.connection] == 0 { // else another reads on there
		s.begins(w.connection, w)
	}
}

// closed takes the end of a connection: what was read there last need not have been a request. Another one may have its
// address by now.
func (s *goService) closed(connection, now uint64) {
	if s.on[connection] == 0 {
		return
	}
	for by, w := range s.waiting {
		if w.connection == connection && w.begun < now {
			s.forget(by, w)
		}
	}
}

func (s *goService) forget(by uint64, w waiting) {
	if w.watched && by != w.connection {
		s.reader.Unwatch(by)
	}
	if w.goids[0] != 0 && by != w.connection {
		s.reader.Passed(by, w.goids[0], w.goids[1])
	}
	delete(s.waiting, by)
	if s.on[w.connection]--; s.on[w.connection] == 0 {
		delete(s.on, w.connection)
	}
}

// watch has the goroutines of requests looked at that have been open for at least so long, ns. It tells whether there are any,
// and whether one was seen to wait for long, or cannot be told from others.
func (s *goService) watch(now, least uint64) (some, wait bool) {
	looped := false
	for by, w := range s.waiting {
		old := now-min(w.begun, now) >= least
		switch {
		case w.watched:
			looped = looped || by == w.connection
			some = some || old
			wait = wait || w.answered == 0 && s.reader.Waits(by) >= long
		case !old:
		case w.answered == 0, now-min(w.answered, now) >= streaming:
			w.watched, some = true, true
			s.waiting[by] = w
			if by == w.connection {
				looped = true
				continue
			}
			s.reader.Watch(by, w.g, w.ran)
			if w.get {
				s.reader.SkipsFirst(by)
			}
		}
	}
	s.crew.watch(s.reader, looped)
	return some && s.reader.Watching() > 0, wait || looped
}

// look reads the goroutines that are watched. It tells whether that happens so seldom that times are less precise than
// they could be. wake is what it costs to have a CPU again for the next look.
func (s *goService) look(now uint64, wake time.Duration, yield func(*goroutine.Sight)) (lowered bool) {
	err := s.reader.Look(func(seen *goroutine.Sight) {
		if seen.State == goroutine.Dead {
			s.crew.ended(seen.GoID)
			s.handsOn(seen.GoID)
		}
		yield(seen)
	})
	period, lowered := s.reader.Period(wake)
	s.next = now + uint64(period)
	return lowered && err == nil // else the process has ended, which an event will tell
}

// parked names a stack that was read from outside, nil if there is none. The result is reused by the next call.
func (s *goService) parked(seen *goroutine.Sight) *trace.Stack {
	if len(seen.PCs) == 0 {
		return nil
	}
	return s.stackOf(seen.PCs, nil, seen.Gap, seen.Truncated)
}

// findFrames has the kernel programs find the frames of the function at pc from now on, which has no use for frame pointers.
func (s *goService) findFrames(pc uint64) {
	for from, depth := range s.symbols.Depths(pc, probe.GoStretch) {
		if err := s.tellDepth(from, depth); err != nil {
			return // the map is full, or the agent is about to end: its stacks stay truncated
		}
	}
}

// ran names the stack that an event brought, nil where it is torn. The result is reused by the next call.
func (s *goService) ran(e *probe.Event) *trace.Stack {
	pcs, gap, truncated := e.PCs()
	if s.isGoingOn(pcs) {
		return nil
	}
	if e.Go().Lost != 0 {
		s.findFrames(pcs[0])
		truncated = true
	}
	callers := &e.Go().Callers
	// A program counter without callers is that of a goroutine which has just begun, in a function that has made no frame
	// yet. Else a signal's handler runs, while the runtime keeps what is left from when the goroutine last left its thread,
	// or its stack, and clears the words at its stack pointer.
	if len(pcs) == 1 && !truncated && s.frameless(pcs[0], callers) == 0 {
		return nil
	}
	return s.stackOf(pcs, callers, gap, truncated)
}

// isGoingOn tells that a goroutine is given a thread just now: its registers are set one after the other, so they tell no stack.
func (s *goService) isGoingOn(pcs []uint64) bool {
	if len(pcs) == 0 {
		return false
	}
	frames := s.symbols.Frames(pcs[0], false)
	return len(frames) > 0 && frames[0].Func.Name == "gogo"
}

// started names the functions of the go statement that started a goroutine, outermost first, where its starter is told.
func (s *goService) started(seen *goroutine.Sight) []trace.Frame {
	if seen.Parent == 0 {
		return nil
	}
	s.starter = s.name(s.starter[:0], s.symbols.Frames(seen.GoPC, true))
	return s.starter
}
