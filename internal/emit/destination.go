package emit

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// destination is what lines are written to: a file that is opened by name, or standard output.
//
// Processes that append to one file do not mix their lines, because each writes whole lines with one call to a file
// opened with O_APPEND. Where a call on a file writes only a part (the disk became full, a limit was reached), the
// line that was cut is taken back by truncating the file to the end of the line before it. So that this never hits
// a line that another process appended in between, writing holds a shared lock on the file and taking back an
// exclusive one. Where a line cannot be taken back (the file is append-only, or not a file), the next write begins
// with a newline: a reader then finds one bad line and loses nothing after it. The same is done for a file that
// does not end with a newline when it is opened, which is what a killed writer leaves behind.
//
// A pipe is never left with a part of a line while its reader lives: the rest is written as soon as there is room.
// Other processes' lines come in between only while a pipe is full, so those that share one should use a file.
type destination struct {
	path    string // empty for standard output
	name    string // for messages
	fd      int
	regular bool
	torn    bool // a part of a line stands at the end
	watcher *watcher
}

func openDestination(path string) (*destination, error) {
	if path == "" {
		d, err := newDestination(int(os.Stdout.Fd()), "standard output")
		if err != nil {
			return nil, fmt.Errorf("write to standard output: %w: redirect it or give --log-file", err)
		}
		return d, nil
	}
	fd, err := openAppend(path)
	if err != nil {
		return nil, fmt.Errorf("open log file %s: %w: %s", path, err, remedy(err))
	}
	d, err := newDestination(fd, path)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open log file %s: %w: give another --log-file", path, err)
	}
	d.path = path
	return d, nil
}

// newDestination writes to a descriptor that is open already.
func newDestination(fd int, name string) (*destination, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	d := &destination{name: name, fd: fd, regular: st.Mode&unix.S_IFMT == unix.S_IFREG}
	d.torn = d.regular && st.Size > 0 && !endsWithLine(fd, st.Size)
	return d, nil
}

// openAppend opens a named pipe for reading as well: so it waits for no reader, and stays when one goes, to come back
// maybe. What another name leads to, as /dev/stdout, has the reader that it has.
func openAppend(path string) (int, error) {
	how := unix.O_WRONLY
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		how = unix.O_RDWR
	}
	for {
		fd, err := unix.Open(path, how|unix.O_APPEND|unix.O_CREAT|unix.O_NOCTTY|unix.O_CLOEXEC, 0o640)
		switch {
		case err == unix.EACCES && how == unix.O_RDWR: // it may only be written to
			how = unix.O_WRONLY
		case err != unix.EINTR:
			return fd, err
		}
	}
}

func remedy(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return "create its directory or give another --log-file"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "let the agent's user write there or give another --log-file"
	}
	return "give another --log-file"
}

// endsWithLine reads the last byte through a descriptor of its own, since the file is open for writing only. A file
// that cannot be read counts as whole.
func endsWithLine(fd int, size int64) bool {
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return true
	}
	defer f.Close()
	_, unlock := lock(fd, unix.LOCK_EX)
	defer unlock()
	if st, err := f.Stat(); err == nil {
		size = st.Size()
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return true
	}
	return last[0] == '\n'
}

// reopen opens the file by its name again and keeps the old one where that fails.
func (d *destination) reopen() error {
	if d.path == "" {
		return nil
	}
	fresh, err := openDestination(d.path)
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	unix.Close(d.fd)
	d.fd, d.regular, d.torn = fresh.fd, fresh.regular, fresh.torn
	return nil
}

func (d *destination) close() {
	d.watcher.stop()
	if d.path != "" {
		unix.Close(d.fd)
	}
}
