package target

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strconv"
)

// maxConstants bounds how much of a segment is searched for the version. A static Python has 7 MiB in all.
const maxConstants = 32 << 20

// readVersion takes the version from Py_Version (3.11 and later), else the minor version from the image's name or the
// name of the standard library's directory in it, and the micro version from the literal PY_VERSION.
func (py *Python) readVersion(im *image, symbol extent, base string) {
	var raw [8]byte
	if symbol.addr != 0 {
		if _, err := im.at.ReadAt(raw[:], int64(symbol.addr)); err == nil {
			hex := binary.LittleEndian.Uint64(raw[:]) // PY_VERSION_HEX: major, minor, micro, level and serial
			py.Major, py.Minor, py.Micro = int(hex>>24), int(hex>>16&0xff), int(hex>>8&0xff)
			return
		}
	}
	py.Major = 3
	segments := im.constants(maxConstants)
	if found := pythonName.FindStringSubmatch(base); found != nil {
		py.Minor, _ = strconv.Atoi(found[1])
	} else {
		py.Minor = largest(segments, "python3.", isEnd)
	}
	// Linkers let a string be the end of a longer one, so a zero need not stand before the literal: where the version is
	// the last part of the installation's path, they are one.
	py.Micro = largest(segments, "3."+strconv.Itoa(py.Minor)+".", isVersionEnd)
}

var versionEnd = regexp.MustCompile(`^((a|b|rc)[0-9]{1,2})?\+?\x00`)

func isVersionEnd(rest []byte) bool { return versionEnd.Match(rest[:min(len(rest), 8)]) }

func isEnd(rest []byte) bool { return len(rest) > 0 && (rest[0] == 0 || rest[0] == '/') }

// largest gives the largest number of at most 3 digits that stands after before and ahead of an end, 0 where there is
// none.
func largest(segments [][]byte, before string, end func(rest []byte) bool) int {
	best := 0
	for _, text := range segments {
		for {
			at := bytes.Index(text, []byte(before))
			if at < 0 {
				break
			}
			follows := at > 0 && (text[at-1] == '.' || text[at-1] >= '0' && text[at-1] <= '9')
			text = text[at+len(before):]
			n := 0
			for n < len(text) && n < 3 && text[n] >= '0' && text[n] <= '9' {
				n++
			}
			if number, err := strconv.Atoi(string(text[:n])); err == nil && !follows && end(text[n:]) {
				best = max(best, number)
			}
		}
	}
	return best
}
