package http1

import "bytes"

const protoLen = len("HTTP/1.1")

// method takes bytes of the request's method, a token.
func (r *reader) method(p []byte) (n int) {
	for n < len(p) && isToken[p[n]] {
		n++
	}
	r.head.append(FieldMethod, p[:n])
	switch {
	case n == len(p):
		return n
	case p[n] == ' ' && r.head.len(FieldMethod) > 0:
		r.head.begin(FieldTarget)
		r.state = readTarget
	default:
		r.state = readSkip
	}
	return n + 1
}

// target takes bytes of the request's target: anything but white space, since servers differ in what they take.
func (r *reader) target(p []byte) (n int) {
	for n < len(p) && !isSpace(p[n]) {
		n++
	}
	r.head.append(FieldTarget, p[:n])
	switch {
	case n == len(p):
		return n
	case p[n] == ' ' && r.head.len(FieldTarget) > 0:
		r.head.begin(fieldProto)
		r.state = readProto
	default:
		r.state = readSkip
	}
	return n + 1
}

// proto takes bytes of the protocol and of the line's end.
func (r *reader) proto(p []byte) (n int) {
	have := r.head.len(fieldProto)
	want := min(protoLen-have, len(p))
	for n < want && matchesProto(have+n, p[n]) {
		n++
	}
	r.head.append(fieldProto, p[:n])
	switch {
	case n < want:
		r.state = readSkip
		return n
	case n == len(p):
		return n
	case p[n] == '\n':
		r.line.reset()
		r.state = readFields
		return n + 1
	case p[n] == '\r' && !r.cr:
		r.cr = true
		return n + 1
	}
	r.state = readSkip
	return n
}

// matchesProto tells whether c can be the i-th byte of HTTP-version (RFC 9112, 2.3).
func matchesProto(i int, c byte) bool {
	const pattern = "HTTP/0.0"
	if pattern[i] == '0' {
		return '0' <= c && c <= '9'
	}
	return c == pattern[i]
}

// beginsRequest tells whether p begins with a whole request line.
func beginsRequest(p []byte) bool {
	text, _, whole := bytes.Cut(p, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	i := bytes.IndexByte(text, ' ')
	j := len(text) - protoLen - 1
	if !whole || i < 1 || j < i+2 || text[j] != ' ' {
		return false
	}
	for _, c := range text[:i] {
		if !isToken[c] {
			return false
		}
	}
	for k, c := range text[j+1:] {
		if !matchesProto(k, c) {
			return false
		}
	}
	return bytes.IndexFunc(text[i+1:j], func(c rune) bool { return c < 0x80 && isSpace(byte(c)) }) < 0
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// isToken holds the bytes of a token (RFC 9110, 5.6.2).
var isToken = func() (set [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		set[c] = true
	}
	return set
}()
