package http1

import "bytes"

// maxLine is how much of a header line is looked at. It covers the name and the kept part of every header of
// interest.
const maxLine = 2048

// line gathers a header line that may arrive in pieces.
type line struct {
	buf  []byte
	over bool // the last whole line was longer than maxLine
	tail bool // what arrives belongs to a line whose beginning was not seen
}

// next takes bytes of p up to the end of the line, which a lone LF ends too (RFC 9112, 2.2). Unless whole, the line
// goes on after p. The text, without its end, is valid until the next call.
func (l *line) next(p []byte) (text []byte, n int, whole bool) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		l.keep(p)
		return nil, len(p), false
	}
	text = p[:i]
	if len(l.buf) > 0 {
		l.keep(text)
		text = l.buf
		l.buf = l.buf[:0]
	}
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = text[:n-1]
	}
	l.over = len(text) > maxLine
	return text[:min(len(text), maxLine)], i + 1, true
}

// keep appends p within the bound. One byte more than maxLine tells that the line is too long; another leaves room
// for the CR.
func (l *line) keep(p []byte) {
	room := maxLine + 2 - len(l.buf)
	l.buf = append(l.buf, p[:min(room, len(p))]...)
}

// reset makes l ready for a line of which the beginning is seen.
func (l *line) reset() {
	*l = line{buf: l.buf[:0]}
}

// cut makes l ready for the rest of a line, the beginning of which is missing.
func (l *line) cut() {
	*l = line{buf: l.buf[:0], tail: true}
}

// lineEnds counts the bytes of line ends that p begins with.
func lineEnds(p []byte) (n int) {
	for n < len(p) && (p[n] == '\r' || p[n] == '\n') {
		n++
	}
	return n
}

// header splits a header line. A continuation line, whose folding is obsolete (RFC 9112, 5.2), and a line without a
// colon have no name.
func header(text []byte) (name, value []byte) {
	i := bytes.IndexByte(text, ':')
	if i <= 0 || text[0] == ' ' || text[0] == '\t' {
		return nil, nil
	}
	return text[:i], trim(text[i+1:])
}

// trim takes optional white space off both ends (RFC 9110, 5.6.3).
func trim(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for n := len(p); n > 0 && (p[n-1] == ' ' || p[n-1] == '\t'); n-- {
		p = p[:n-1]
	}
	return p
}

// fold tells whether a is b, which is in lower case, in whatever case.
func fold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != b[i] {
			return false
		}
	}
	return true
}
