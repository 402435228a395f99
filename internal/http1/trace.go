package http1

import "bytes"

// maxTraceID is the length of the longest trace ID.
const maxTraceID = 36

// tracerID gives the trace ID of an X-APM-TRACER value <uuid>[:<timestamp>], or nil where it is not valid.
func tracerID(value []byte) []byte {
	id, _, _ := bytes.Cut(value, []byte(":"))
	if len(id) != 32 && len(id) != maxTraceID {
		return nil
	}
	dashes := 0
	if len(id) == maxTraceID {
		if id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
			return nil
		}
		dashes = 4
	}
	for _, c := range id {
		if !isHex[c] {
			dashes--
		}
	}
	if dashes != 0 {
		return nil
	}
	return id
}

// isHex holds the hexadecimal digits.
var isHex = func() (set [256]bool) {
	for c := range set {
		set[c] = hexValue(byte(c)) >= 0
	}
	return set
}()

// validParent tells whether a traceparent is valid and names a trace (W3C Trace Context, 3.2.2 and 4.3): versions
// above 00 may append to the format of 00.
func validParent(v string) bool {
	const format = "00-00000000000000000000000000000000-0000000000000000-00"
	if len(v) < len(format) {
		return false
	}
	for i := range len(format) {
		if c := v[i]; format[i] == '-' && c != '-' || format[i] == '0' && (hexValue(c) < 0 || c <= 'F' && c >= 'A') {
			return false
		}
	}
	if len(v) > len(format) && (v[:2] == "00" || v[len(format)] != '-') {
		return false
	}
	return v[:2] != "ff" && v[3:35] != format[3:35] && v[36:52] != format[36:52]
}
