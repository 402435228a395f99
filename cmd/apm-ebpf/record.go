package main

import (
	"github.com/google/uuid"

	"apm-ebpf/internal/emit"
	"apm-ebpf/internal/trace"
)

// blockedBy tells under which key of the record's blocked each general reason is counted.
var blockedBy = map[trace.Reason]emit.Reason{
	trace.Sleep:         emit.Sleep,
	trace.SocketRecv:    emit.Socket,
	trace.SocketSend:    emit.Socket,
	trace.SocketConnect: emit.Socket,
	trace.SocketAccept:  emit.Socket,
	trace.Poll:          emit.Poll,
	trace.Lock:          emit.Lock,
	trace.GIL:           emit.GIL,
	trace.Disk:          emit.Disk,
	trace.Pipe:          emit.Pipe,
	trace.Child:         emit.Child,
	trace.RunQueue:      emit.RunQueue,
	trace.Await:         emit.Await,
	trace.Chan:          emit.Chan,
	trace.Blocked:       emit.Other,
}

// finished writes the record of a request.
func (a *agent) finished(r *trace.Request) {
	if s := a.services.goService(r.PID); s != nil {
		s.ended(r)
	}
	o := a.options
	if r.Duration() < o.minDuration.Nanoseconds() || o.count > 0 && a.written >= o.count {
		return
	}
	a.describe(r)
	if a.records.Queue(a.appendRecord) {
		a.written++
	}
	if o.count > 0 && a.written == o.count {
		close(a.full)
	}
}

func (a *agent) appendRecord(dst []byte) []byte { return a.encoder.Append(dst, &a.record) }

// describe makes the record of a request.
func (a *agent) describe(r *trace.Request) {
	record := &a.record
	*record = emit.Record{
		ProcName:    a.options.procName,
		Services:    a.servicesOf(r),
		Protocol:    r.Proto,
		Endpoint:    emit.Endpoint(r.Target, a.options.withQuery, r.Method),
		TraceID:     traceID(r),
		Start:       a.wallClock + r.Start,
		Duration:    r.Duration(),
		Method:      r.Method,
		Host:        r.Host,
		Status:      r.Status,
		Client:      r.Remote,
		PID:         int(r.PID),
		TID:         int(r.TID),
		ClientTime:  r.ClientTime,
		TraceParent: r.Traceparent,
		BytesIn:     r.BytesIn,
		BytesOut:    r.BytesOut,
		Lost:        r.Lost,
	}
	s := a.services.of(r.PID)
	if s != nil {
		record.ProcName, record.Runtime = s.name, s.runtime
		if r.Undecided {
			a.services.sawUndecided(s)
		}
	}
	truncated := false
	if r.Sampled {
		profile := a.tracer.Profile(r)
		a.describeProfile(profile, s)
		truncated = profile.Truncated
	}
	record.Incomplete = incomplete(r, truncated)
	if r.Sampled && s != nil && s.misses(r) {
		record.Incomplete |= emit.OwnerUndecided
	}
}

// servicesOf is where the request was sent to, which hardly ever differs from request to request.
func (a *agent) servicesOf(r *trace.Request) string {
	if !r.Local.IsValid() {
		return emit.Services(r.Local, r.Host)
	}
	if a.local != r.Local {
		a.local, a.localName = r.Local, emit.Services(r.Local, r.Host)
	}
	return a.localName
}

// describeProfile adds the tree and the times to the record.
func (a *agent) describeProfile(p *trace.Profile, s *service) {
	out, blocked := &a.profile, &a.blocked
	*blocked = emit.Blocked{}
	*out = emit.Profile{CPUTime: p.CPU, SampleCount: p.Stacks, Mapper: a.options.mapper, Frames: p.Frames}
	if s != nil {
		out.Frames = a.options.mapper.Map(s.filters, p.Frames)
		if !a.options.noCommandLine {
			out.Program = s.program
		}
	}
	a.record.Profile, a.record.Blocked = out, blocked
	for why, time := range p.Waits {
		if time == 0 {
			continue
		}
		if key, ok := blockedBy[trace.Reason(why).General()]; ok {
			blocked[key] += time
		}
	}
}

// traceID is what the requester calls the request, or a name of its own.
func traceID(r *trace.Request) string {
	switch {
	case r.TraceID != "":
		return r.TraceID
	case r.ParentTraceID != "":
		return r.ParentTraceID
	}
	return uuid.NewString()
}

// incomplete tells why the record tells less than the whole.
func incomplete(r *trace.Request, truncated bool) (set emit.Incomplete) {
	for _, why := range [...]struct {
		flag  emit.Incomplete
		holds bool
	}{
		{emit.OwnerUndecided, r.Undecided},
		{emit.StackTruncated, truncated},
		{emit.PrecisionLowered, r.Imprecise},
		{emit.EventsLost, r.Lost > 0},
		{emit.NoResponse, r.NoResponse},
		{emit.ClientClosed, r.ClientClosed},
		{emit.Upgraded, r.Upgraded},
		{emit.TargetExited, r.Cut == trace.TargetExited},
		{emit.AgentStopped, r.Cut == trace.AgentStopped},
	} {
		if why.holds {
			set |= why.flag
		}
	}
	return set
}
