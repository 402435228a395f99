package emit

import "golang.org/x/sys/unix"

// watcher waits for the reader of a pipe or socket to go away, which otherwise only the next write would show: on a
// quiet service that may be hours later.
type watcher struct {
	wake int // an eventfd that ends the wait
	done chan struct{}
}

// watch calls gone, on a goroutine of its own, when nobody can read standard output any more. It does nothing for
// other destinations.
func (d *destination) watch(gone func()) {
	var st unix.Stat_t
	if d.path != "" || unix.Fstat(d.fd, &st) != nil {
		return
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFIFO && kind != unix.S_IFSOCK {
		return
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return
	}
	d.watcher = &watcher{wake: wake, done: make(chan struct{})}
	go d.watcher.run(d.fd, gone)
}

func (w *watcher) run(fd int, gone func()) {
	defer close(w.done)
	for {
		fds := []unix.PollFd{{Fd: int32(fd)}, {Fd: int32(w.wake), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
		case err != nil || fds[1].Revents != 0:
			return
		case fds[0].Revents != 0:
			gone()
			return
		}
	}
}

// stop ends the wait and returns when it has ended.
func (w *watcher) stop() {
	if w == nil {
		return
	}
	one := [8]byte{1}
	if _, err := unix.Write(w.wake, one[:]); err == nil {
		<-w.done
	}
	unix.Close(w.wake)
}
