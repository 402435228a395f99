package target

import (
	"encoding/binary"
	"regexp"
	"runtime/debug"
	"strconv"
)

// buildMagic begins what Go's linker tells of the build, 32 bytes and two strings, aligned to 16 (Go
// src/debug/buildinfo/buildinfo.go).
const (
	buildMagic  = "\xff Go buildinf:"
	buildHeader = 32
	buildFlags  = 15
	buildInline = 2 // the strings follow the header: Go 1.18 and later
)

// maxBuildText bounds each of the strings, in bytes. A line of the second one is a module.
const maxBuildText = 4 << 20

// goBuild gives the version of Go that linked the image and what the program is made of. ok tells a Go program, even if
// its version is "" because it was taken out, or is older than 1.18.
func (im *image) goBuild() (version string, info *debug.BuildInfo, ok bool) {
	info = &debug.BuildInfo{}
	ok = im.search([]byte(buildMagic), 16, writable, func(addr uint64) bool {
		header := make([]byte, buildHeader)
		if _, err := im.at.ReadAt(header, int64(addr)); err != nil {
			return false
		}
		if header[buildFlags]&buildInline == 0 {
			return true
		}
		var modules string
		version, addr = im.buildText(addr + buildHeader)
		modules, _ = im.buildText(addr)
		const frame = 16 // bytes before and after (cmd/go/internal/modload.ModInfoData)
		if len(modules) > 2*frame {
			if parsed, err := debug.ParseBuildInfo(modules[frame : len(modules)-frame]); err == nil {
				info = parsed
			}
		}
		return true
	})
	return version, info, ok
}

// buildText reads a string behind its length, and where the next one begins.
func (im *image) buildText(addr uint64) (text string, end uint64) {
	var length [binary.MaxVarintLen64]byte
	got, _ := im.at.ReadAt(length[:], int64(addr)) // it may be the last of its segment
	size, n := binary.Uvarint(length[:got])
	if n <= 0 || size > maxBuildText {
		return "", addr
	}
	raw := make([]byte, size)
	if _, err := im.at.ReadAt(raw, int64(addr)+int64(n)); err != nil {
		return "", addr
	}
	return string(raw), addr + uint64(n) + size
}

// goVersion finds the version in what the build says: "go1.26.1", "go1.26.1 X:greenteagc",
// "devel go1.27-5a0e7e1 Tue Nov 3", "go1.24.6 (Red Hat 1.24.6-1.el9_6)".
var goVersion = regexp.MustCompile(`\bgo1\.([0-9]{1,3})(\.[0-9]+|rc[0-9]+|beta[0-9]+)?\b`)

func parseGoVersion(text string) (version string, minor int, ok bool) {
	found := goVersion.FindStringSubmatch(text)
	if found == nil {
		return "", 0, false
	}
	minor, _ = strconv.Atoi(found[1])
	return found[0], minor, true
}
