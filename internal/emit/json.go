package emit

import (
	"strconv"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Each byte that is not part of valid UTF-8 becomes U+FFFD. Control
// characters are escaped, those of C1 and DEL too: JSON would allow these, but a terminal that shows the line would
// obey them.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		if i+8 <= len(s) && plain(word(s[i:i+8])) {
			i += 8
			continue
		}
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if r > 0x9f && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscaped(dst, r)
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

func word(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// plain tells whether all eight bytes stand in a JSON string as they are: printable ASCII but quotes and backslashes. A
// byte that does not has its highest bit set, or comes by it below.
func plain(w uint64) bool {
	const each, highest = 0x0101010101010101, 0x8080808080808080
	control, del := w-each*' ', w+each
	quote, backslash := (w^each*'"')-each, (w^each*'\\')-each
	return (w|control|del|quote|backslash)&highest == 0
}

func appendEscaped(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case utf8.RuneError:
		return utf8.AppendRune(dst, utf8.RuneError)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&0xf])
}

// appendSeconds appends nanoseconds as seconds with six decimals, rounded down. Rounding every time of a record the
// same way and down keeps what holds between them: parts never sum to more than their whole, and equal times stay
// equal. What is negative counts as 0.
func appendSeconds(dst []byte, ns int64) []byte {
	return appendMicros(dst, uint64(max(ns, 0))/1000)
}

func appendMicros(dst []byte, us uint64) []byte {
	const second = 1_000_000
	dst = strconv.AppendUint(dst, us/second, 10)
	point := len(dst)
	dst = strconv.AppendUint(dst, second+us%second, 10)
	dst[point] = '.' // in place of the one that keeps leading zeros
	return dst
}

// appendKey appends a key that is not known beforehand, as it is.
func appendKey(dst []byte, key string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, key...)
	return append(dst, '"', ':')
}

// The append…Field functions append a key, which comes with its comma, quotes and colon, and a value.

func appendStringField(dst []byte, key, value string) []byte {
	return appendString(append(dst, key...), value)
}

func appendIntField(dst []byte, key string, value int64) []byte {
	return strconv.AppendInt(append(dst, key...), value, 10)
}

func appendSecondsField(dst []byte, key string, ns int64) []byte {
	return appendSeconds(append(dst, key...), ns)
}
