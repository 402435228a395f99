package target

import (
	"encoding/binary"
	"regexp"
	"strconv"
)

// maxConstants bounds how much of a segment is searched for the version. A static Python has 7 MiB in all.
const maxConstants = 32 << 20

// readVersion takes the version from Py_Version (3.11 and later), else the minor version from the image's name or the
// path of the standard library in it, and the micro version from the literal PY_VERSION.
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
	found := pythonName.FindStringSubmatch(base)
	for i := 0; found == nil && i < len(segments); i++ {
		if match := pythonName.FindSubmatch(segments[i]); match != nil {
			found = []string{string(match[0]), string(match[1])}
		}
	}
	if found == nil {
		return
	}
	py.Minor, _ = strconv.Atoi(found[1])
	literal := regexp.MustCompile(`\x003\.` + found[1] + `\.([0-9]{1,3})(?:(?:a|b|rc)[0-9]+)?\+?\x00`)
	for _, text := range segments {
		if match := literal.FindSubmatch(text); match != nil {
			py.Micro, _ = strconv.Atoi(string(match[1]))
			return
		}
	}
}
