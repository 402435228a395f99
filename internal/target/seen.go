package target

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// seen keeps what takes long to find in files: the workers of a server, and those that replace them, run the same ones.
type seen[T any] struct {
	mu sync.Mutex
	in map[fileID]T
}

// fileID names what is in a file: which one, how long, when it changed last.
type fileID struct {
	device, inode uint64
	size          int64
	changed       unix.Timespec
}

// maxSeen bounds how many files are kept in mind.
const maxSeen = 256

// findIn does what find does for the file of an image, if it has one of its own.
func (s *seen[T]) findIn(im *image, look func() (T, error)) (T, error) {
	if f, ok := im.under.(*os.File); ok {
		return s.find(f, look)
	}
	return look()
}

// find gives what look finds in the file, or found there before. Errors are not kept.
func (s *seen[T]) find(f *os.File, look func() (T, error)) (T, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return look()
	}
	id := fileID{st.Dev, st.Ino, st.Size, st.Ctim}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.in[id]; ok {
		return found, nil
	}
	found, err := look()
	if err != nil {
		return found, err
	}
	if s.in == nil || len(s.in) >= maxSeen {
		s.in = map[fileID]T{}
	}
	s.in[id] = found
	return found, nil
}
