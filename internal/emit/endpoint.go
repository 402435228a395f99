package emit

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Endpoint returns the record's endpoint for a request target as it was sent: with withQuery the target itself, else
// its path, percent-decoded, or for CONNECT the host and port asked for. User information, query and fragment are
// left out, since they may be secret. What cannot be decoded stays as it was sent; each byte that is not part of valid
// UTF-8 becomes U+FFFD.
func Endpoint(target string, withQuery bool, method string) string {
	if withQuery {
		return validUTF8(target)
	}
	if method == "CONNECT" && !strings.HasPrefix(target, "/") {
		return validUTF8(hostPort(target))
	}
	return validUTF8(unescape(path(target)))
}

// path returns the path of an origin-form, absolute-form or asterisk-form target. An absolute URL without a path
// stands for the root.
func path(target string) string {
	if rest, ok := cutScheme(target); ok {
		slash := strings.IndexAny(rest, "/?#")
		if slash < 0 || rest[slash] != '/' {
			return "/"
		}
		target = rest[slash:]
	}
	for i := range len(target) {
		if target[i] == '?' || target[i] == '#' {
			return target[:i]
		}
	}
	return target
}

// hostPort returns the authority of a CONNECT target without user information.
func hostPort(target string) string {
	if rest, ok := cutScheme(target); ok {
		target = rest
	}
	if end := strings.IndexAny(target, "/?#"); end >= 0 {
		target = target[:end]
	}
	return target[strings.LastIndexByte(target, '@')+1:]
}

// cutScheme cuts the scheme and the two slashes off an absolute URL.
func cutScheme(target string) (rest string, ok bool) {
	if target == "" || !isLetter(target[0]) {
		return target, false
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok {
		return target, false
	}
	for i := range len(scheme) {
		if c := scheme[i]; !isLetter(c) && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' {
			return target, false
		}
	}
	return rest, true
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0 {
			c = byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	if 'A' <= c && c <= 'F' {
		c |= 0x20
	}
	return strings.IndexByte(hexDigits, c)
}

// validUTF8 replaces byte by byte, where strings.ToValidUTF8 would replace a run of bytes by one U+FFFD.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// Services returns the record's services for a connection: the local address that accepted it. An invalid address
// stands for a Unix socket, whose connections are told by their Host header as WSGI servers do: with port 80 where the
// header has none.
func Services(local netip.AddrPort, host string) string {
	if local.IsValid() {
		return netip.AddrPortFrom(local.Addr().Unmap(), local.Port()).String()
	}
	colon := strings.LastIndexByte(host, ':')
	switch {
	case colon < strings.LastIndexByte(host, ']'), colon < 0:
		return host + ":80"
	case colon == len(host)-1:
		return host + "80"
	}
	return host
}
