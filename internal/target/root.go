package target

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a regular file of the target for reading, by its path as the target sees it. Links are followed inside
// the target's root only, so that it cannot make the agent read a file outside.
func (p *Process) Open(path string) (*os.File, error) { return p.fs.open(p.PID, path) }

func (fs procfs) open(pid int, path string) (*os.File, error) {
	// A FIFO must not hold us up, hence O_NONBLOCK.
	fd, err := fs.openIn(pid, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	return regular(os.NewFile(uintptr(fd), path))
}

// openIn opens anything below the target's root.
func (fs procfs) openIn(pid int, path string, flags uint64) (int, error) {
	root, err := unix.Open(fs.path(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open root of process %d: %w", pid, procError(err))
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("open %s of process %d: %w", path, pid, explain(err))
	}
	return fd, nil
}

// openMapping opens the very file that is mapped, even where its path leads to another one by now: through
// /proc/PID/map_files, else /proc/PID/exe, else its path where that still leads to the same inode.
func (p *Process) openMapping(m Mapping) (*os.File, error) {
	magic := []string{fmt.Sprintf("map_files/%x-%x", m.Start, m.End)}
	if m.Path == p.Exe {
		magic = append(magic, "exe")
	}
	for _, name := range magic {
		name = p.fs.path(p.PID, name)
		if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() {
			continue // opening a device can have effects
		}
		if f, err := os.Open(name); err == nil {
			return f, nil
		}
	}
	f, err := p.Open(m.Path)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Ino != m.Inode {
		f.Close()
		return nil, fmt.Errorf("open %s of process %d: the file was replaced since the process mapped it", m.Path, p.PID)
	}
	return f, nil
}

// regular gives f back if it is a regular file and closes it if it is not.
func regular(f *os.File) (*os.File, error) {
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open %s: %w", f.Name(), err)
	}
	return f, nil
}
