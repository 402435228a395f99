package emit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// write writes whole lines and returns how many bytes of whole lines are there, with an error where that is not all.
func (d *destination) write(lines []byte) (int, error) {
	put := d.writeStream
	if d.regular {
		put = d.writeFile
	}
	if d.torn {
		if _, err := put(newline); err != nil {
			return 0, d.failure(err)
		}
		d.torn = false
	}
	n, err := put(lines)
	if err != nil {
		return n, d.failure(err)
	}
	return n, nil
}

func (d *destination) failure(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EBADF) {
		err = ErrReaderGone
	}
	return fmt.Errorf("write to %s: %w", d.name, err)
}

// errNoRoom stands for what a file that takes a part of a line does not say.
var errNoRoom = errors.New("no room for a whole line: is the disk full, or a limit on file sizes reached?")

// writeFile writes to a file. After a short write it takes back the line that was cut and tries again from there, so
// as to learn what is wrong.
func (d *destination) writeFile(lines []byte) (int, error) {
	for done := 0; ; {
		_, unlock := lock(d.fd, unix.LOCK_SH)
		n, err := writeOnce(d.fd, lines[done:])
		unlock()
		if done+n == len(lines) {
			return len(lines), nil
		}
		whole := bytes.LastIndexByte(lines[done:done+n], '\n') + 1
		done += whole
		if cut := int64(n - whole); cut > 0 {
			d.torn = !takeBack(d.fd, cut)
		}
		if err == nil && (whole == 0 || d.torn) {
			err = errNoRoom
		}
		if err != nil {
			return done, err
		}
	}
}

// takeBack removes the last n bytes of a file, unless something was appended to them.
func takeBack(fd int, n int64) bool {
	alone, unlock := lock(fd, unix.LOCK_EX)
	defer unlock()
	end, err := unix.Seek(fd, 0, io.SeekCurrent)
	if err != nil || !alone {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Size != end || unix.Ftruncate(fd, end-n) != nil {
		return false
	}
	// A standard output that was not opened with O_APPEND would go on behind a gap.
	_, err = unix.Seek(fd, end-n, io.SeekStart)
	return err == nil
}

// writeStream writes to a pipe, a terminal or a device, and goes on until everything is written.
func (d *destination) writeStream(lines []byte) (int, error) {
	for n := 0; ; {
		m, err := writeOnce(d.fd, lines[n:])
		n += m
		if n == len(lines) {
			return n, nil
		}
		if err == unix.EAGAIN {
			err = waitWritable(d.fd)
		} else if err == nil && m == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			whole := bytes.LastIndexByte(lines[:n], '\n') + 1
			d.torn = whole < n
			return whole, err
		}
	}
}

// writeOnce makes one write call and returns how much was written, which os.File would not: it goes on by itself.
// A broken pipe is an error here and raises no signal, whatever the descriptor.
func writeOnce(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Write(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func waitWritable(fd int) error {
	_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
	if err == unix.EINTR {
		return nil
	}
	return err
}

const (
	lockTries = 10
	lockPause = time.Millisecond
)

// lock takes an advisory lock on a file that agents hold for no longer than a write takes. It waits a few
// milliseconds at most, because anyone who may read the file could hold one for good, and tells whether someone else
// still does. Where the file system knows no locks, nobody does.
func lock(fd, how int) (free bool, unlock func()) {
	for range lockTries {
		err := unix.Flock(fd, how|unix.LOCK_NB)
		if err == nil {
			return true, func() { unix.Flock(fd, unix.LOCK_UN) }
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return true, func() {}
		}
		time.Sleep(lockPause)
	}
	return false, func() {}
}
