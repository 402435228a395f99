package target

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// procfs is the place where /proc is mounted; tests lay out one of their own.
type procfs string

// proc is the /proc of the agent's own PID namespace.
const proc procfs = "/proc"

// Bounds of what is read from /proc/PID: a process can make its maps, arguments and environment as large as it likes.
const (
	maxMaps    = 32 << 20
	maxText    = 2 << 20
	maxParents = 8
)

func (fs procfs) path(pid int, name string) string {
	return filepath.Join(string(fs), strconv.Itoa(pid), name)
}

// read gives at most limit bytes of /proc/PID/name.
func (fs procfs) read(pid int, name string, limit int64) ([]byte, error) {
	f, err := os.Open(fs.path(pid, name))
	if err == nil {
		defer f.Close()
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(f, limit)); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("read %s of process %d: %w", name, pid, procError(err))
}

// link gives where /proc/PID/name points, or pointed before that file was unlinked.
func (fs procfs) link(pid int, name string) (path string, err error) {
	if path, err = os.Readlink(fs.path(pid, name)); err != nil {
		return "", fmt.Errorf("read %s of process %d: %w", name, pid, procError(err))
	}
	return inside(fs.root(pid), strings.TrimSuffix(path, " (deleted)")), nil
}

// root gives the target's root where the target sees less than the agent, as after chroot(2), else "". In a container,
// which has mounts of its own, links and maps tell what it sees itself.
func (fs procfs) root(pid int) string {
	root, err := os.Readlink(fs.path(pid, "root"))
	if err != nil || root == "/" {
		return ""
	}
	return root
}

// inside gives a path below a root as a process sees it that has that root.
func inside(root, path string) string {
	if rest, ok := strings.CutPrefix(path, root); ok && root != "" && (rest == "" || rest[0] == '/') {
		return cmp.Or(rest, "/")
	}
	return path
}

// strings gives the zero-terminated strings of /proc/PID/cmdline or environ. A process that renames itself leaves its
// title there, padded with zeros or spaces.
func (fs procfs) strings(pid int, name string) ([]string, error) {
	text, err := fs.read(pid, name, maxText)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 {
		return nil, nil
	}
	return strings.Split(string(text), "\x00"), nil
}

// stat is what is needed of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	state  byte
	parent int
	start  uint64 // clock ticks since boot
}

func (fs procfs) stat(pid int) (s stat, err error) {
	text, err := fs.read(pid, "stat", maxText)
	if err != nil {
		return s, err
	}
	// The second field is the command in parentheses and may hold anything, so count from the last one.
	field := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(field) < 20 || len(field[0]) != 1 {
		return s, fmt.Errorf("read stat of process %d: %d fields after the command, want 20 or more", pid, len(field))
	}
	s.state = field[0][0]
	var parentErr, startErr error
	s.parent, parentErr = strconv.Atoi(field[1])
	s.start, startErr = strconv.ParseUint(field[19], 10, 64)
	if err := errors.Join(parentErr, startErr); err != nil {
		return s, fmt.Errorf("read stat of process %d: %w", pid, err)
	}
	return s, nil
}

// procError tells a process that has gone from one that may not be looked at. The files of one that dies while it is
// read fail with ESRCH or are missing.
func procError(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	return explain(err)
}
