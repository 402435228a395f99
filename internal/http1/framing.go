package http1

import "bytes"

// framing is what the headers of a message tell about its body (RFC 9112, 6.3).
type framing struct {
	length  int64
	sized   bool // a Content-Length was given
	unsure  bool // and cannot be used: not a number, or two that differ
	coded   bool // a Transfer-Encoding other than identity was given
	chunked bool // the last coding of it is chunked
}

// extent is how a body ends.
type extent uint8

const (
	extentNone    extent = iota // the headers promise no body
	extentSized                 // after so many bytes
	extentChunked               // with the last chunk
	extentOpen                  // with the connection
	extentUnknown               // the headers contradict themselves
)

// extent gives the verdict of all headers; Transfer-Encoding overrides Content-Length.
func (f *framing) extent() extent {
	switch {
	case f.chunked:
		return extentChunked
	case f.coded:
		return extentOpen
	case f.unsure:
		return extentUnknown
	case f.sized:
		return extentSized
	}
	return extentNone
}

// header takes one header; cut tells that the end of its value is missing.
func (f *framing) header(name, value []byte, cut bool) {
	switch {
	case fold(name, "content-length"):
		f.contentLength(value, cut)
	case fold(name, "transfer-encoding"):
		f.transferEncoding(value, cut)
	}
}

// contentLength takes a value, which may be a list of equal numbers (RFC 9110, 8.6).
func (f *framing) contentLength(value []byte, cut bool) {
	f.unsure = f.unsure || cut
	for more := true; more; {
		var item []byte
		item, value, more = bytes.Cut(value, []byte(","))
		n, ok := decimal(trim(item))
		if !ok || f.sized && n != f.length {
			f.unsure = true
		}
		f.length, f.sized = n, true
	}
}

// transferEncoding takes a value; several headers are one list (RFC 9112, 6.1).
func (f *framing) transferEncoding(value []byte, cut bool) {
	if i := bytes.LastIndexByte(value, ','); i >= 0 {
		f.coded = true
		value = trim(value[i+1:])
	}
	if fold(value, "identity") && !cut {
		return
	}
	f.coded = true
	f.chunked = fold(value, "chunked") && !cut
}

// decimal reads a number of at most 18 digits, leading zeros aside: more bytes than any stream can have.
func decimal(text []byte) (n int64, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' || n >= 1e17 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(text) > 0
}
