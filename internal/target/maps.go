package target

import (
	"bytes"
	"strconv"
	"strings"
)

// Mapping is one line of /proc/PID/maps that maps a file.
type Mapping struct {
	Start, End uint64
	Offset     uint64 // in the file, bytes
	Perm       string // as "r-xp"
	Inode      uint64
	Path       string // as the target sees it
}

// Mappings gives what files the process maps now, by ascending address. Errors: ErrGone, or the capability that is missing.
func (p *Process) Mappings() ([]Mapping, error) {
	text, err := p.fs.read(p.PID, "maps", maxMaps)
	if err != nil {
		return nil, err
	}
	maps, root := parseMaps(text), p.fs.root(p.PID)
	for i := range maps {
		maps[i].Path = inside(root, maps[i].Path)
	}
	return maps, nil
}

// parseMaps reads the text of /proc/PID/maps and keeps the mappings of files. Lines that are anything else are left out.
func parseMaps(text []byte) []Mapping {
	var out []Mapping
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		if m, ok := parseMapping(string(line)); ok {
			out = append(out, m)
		}
	}
	return out
}

// parseMapping reads "start-end perm offset dev inode   path" (Linux Documentation/filesystems/proc.rst).
func parseMapping(line string) (m Mapping, ok bool) {
	var field [5]string
	rest := line
	for i := range field {
		field[i], rest, ok = strings.Cut(strings.TrimLeft(rest, " "), " ")
		if !ok {
			return m, false
		}
	}
	path := strings.TrimLeft(rest, " ")
	start, end, _ := strings.Cut(field[0], "-")
	var err [4]error
	m.Start, err[0] = strconv.ParseUint(start, 16, 64)
	m.End, err[1] = strconv.ParseUint(end, 16, 64)
	m.Offset, err[2] = strconv.ParseUint(field[2], 16, 64)
	m.Inode, err[3] = strconv.ParseUint(field[4], 10, 64)
	if err != [4]error{} || m.End <= m.Start || m.Inode == 0 || !strings.HasPrefix(path, "/") {
		return m, false
	}
	m.Perm = field[1]
	m.Path = strings.TrimSuffix(path, " (deleted)")
	m.Path = strings.ReplaceAll(m.Path, `\012`, "\n")
	return m, true
}

// Code is a range of addresses that may be run.
type Code struct {
	Start, End uint64
	Name       string // path as the target sees it, "[vdso]" or the like, "" for memory without a file
}

// Code gives what the process can run now, by ascending address. Errors: those of Mappings.
func (p *Process) Code() ([]Code, error) {
	text, err := p.fs.read(p.PID, "maps", maxMaps)
	if err != nil {
		return nil, err
	}
	return parseCode(text), nil
}

func parseCode(text []byte) []Code {
	var out []Code
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		field := strings.Fields(string(line))
		if len(field) < 5 || len(field[1]) < 3 || field[1][2] != 'x' {
			continue
		}
		var c Code
		start, end, _ := strings.Cut(field[0], "-")
		var startErr, endErr error
		c.Start, startErr = strconv.ParseUint(start, 16, 64)
		c.End, endErr = strconv.ParseUint(end, 16, 64)
		if m, ok := parseMapping(string(line)); ok {
			c.Name = m.Path
		} else if len(field) > 5 {
			c.Name = field[5]
		}
		if startErr == nil && endErr == nil {
			out = append(out, c)
		}
	}
	return out
}
