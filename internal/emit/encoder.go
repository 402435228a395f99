package emit

import (
	"strconv"

	"apm-ebpf/internal/filter"
)

// Encoder turns records into lines of JSON. The zero value is ready for use, by several goroutines too.
type Encoder struct {
	Version string // told in each record; empty stands for Version()
}

// Append appends r to dst as one line, newline included, and allocates nothing but what dst lacks.
func (e *Encoder) Append(dst []byte, r *Record) []byte {
	version := e.Version
	if version == "" {
		version = Version()
	}
	dst = append(dst, `{"version":`...)
	dst = appendString(dst, version)
	dst = appendStringField(dst, `,"proc_name":`, r.ProcName)
	dst = appendStringField(dst, `,"services":`, r.Services)
	dst = appendStringField(dst, `,"protocol":`, r.Protocol)
	dst = appendStringField(dst, `,"endpoint":`, r.Endpoint)
	dst = appendStacktrace(dst, r)
	dst = appendAPITrace(dst, r)
	dst = appendRequest(dst, r)
	return append(dst, '}', '\n')
}

func appendStacktrace(dst []byte, r *Record) []byte {
	dst = append(dst, `,"stacktrace":{`...)
	p := r.Profile
	if p == nil {
		return append(dst, '}')
	}
	dst = append(dst, `"start_time":`...)
	dst = appendMicros(dst, r.Start/1000)
	dst = appendSecondsField(dst, `,"duration":`, r.Duration)
	dst = appendSecondsField(dst, `,"cpu_time":`, p.CPUTime)
	dst = appendIntField(dst, `,"sample_count":`, int64(p.SampleCount))
	dst = appendStringField(dst, `,"program":`, p.Program)
	dst = append(dst, `,"root_frame":`...)
	if p.Mapper != filter.Tree {
		dst = appendFrames(dst, p.Frames, appendListed)
	} else if len(p.Frames) == 1 {
		dst = appendTree(dst, p.Frames[0])
	} else {
		dst = appendFrames(dst, p.Frames, appendTree)
	}
	return append(dst, '}')
}

// appendAPITrace tells the response's second as that in which start and duration, as the record has them, end.
func appendAPITrace(dst []byte, r *Record) []byte {
	end := r.Start + uint64(max(r.Duration, 0))
	dst = append(dst, `,"apitrace":{"trace_id":`...)
	dst = appendString(dst, r.TraceID)
	dst = appendIntField(dst, `,"req_time":`, int64(uint32(r.Start/1e9)))
	dst = appendIntField(dst, `,"resp_time":`, int64(uint32(end/1e9)))
	return append(dst, '}')
}

func appendFrames(dst []byte, frames []*filter.Frame, one func([]byte, *filter.Frame) []byte) []byte {
	dst = append(dst, '[')
	for i, f := range frames {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, f)
	}
	return append(dst, ']')
}

func appendListed(dst []byte, f *filter.Frame) []byte {
	dst = appendFrame(dst, f)
	dst = appendIntField(dst, `,"depth":`, int64(f.Depth))
	dst = appendLines(dst, f)
	return append(dst, '}')
}

func appendTree(dst []byte, f *filter.Frame) []byte {
	dst = appendFrame(dst, f)
	dst = appendFrames(append(dst, `,"children":`...), f.Children, appendTree)
	dst = appendLines(dst, f)
	return append(dst, '}')
}

// appendFrame leaves the object open for what the two shapes differ in.
func appendFrame(dst []byte, f *filter.Frame) []byte {
	dst = append(dst, `{"function":`...)
	dst = appendString(dst, f.Function)
	dst = appendStringField(dst, `,"file_path":`, f.File)
	dst = appendStringField(dst, `,"file_path_short":`, f.ShortFile)
	dst = appendIntField(dst, `,"line_no":`, int64(f.Line))
	dst = appendSecondsField(dst, `,"time":`, f.Time)
	dst = append(dst, `,"is_application_code":`...)
	return strconv.AppendBool(dst, f.App)
}

func appendLines(dst []byte, f *filter.Frame) []byte {
	if f.Lines == nil {
		return dst
	}
	dst = append(dst, `,"lines":{`...)
	for i, l := range f.Lines {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = strconv.AppendInt(dst, int64(l.Line), 10)
		dst = append(dst, '"', ':')
		dst = appendSeconds(dst, l.Time)
	}
	return append(dst, '}')
}
