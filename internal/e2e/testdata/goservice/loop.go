package main

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
)

// loop serves as netpoll and others do: one goroutine waits for all connections and reads from them, and others answer.
func loop(listener net.Listener, have func(answer func())) error {
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	accepts := int(file.Fd())
	epoll, err := syscall.EpollCreate1(0)
	if err != nil {
		return err
	}
	add := func(fd int) error {
		return syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
	}
	if err := add(accepts); err != nil {
		return err
	}
	events := make([]syscall.EpollEvent, 64)
	for {
		n, err := syscall.EpollWait(epoll, events, -1)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		for _, event := range events[:n] {
			fd := int(event.Fd)
			if fd == accepts {
				conn, _, err := syscall.Accept(fd)
				if err == nil {
					err = add(conn)
				}
				if err != nil {
					return err
				}
				continue
			}
			head := make([]byte, 4096)
			if n, err := syscall.Read(fd, head); err != nil || n == 0 {
				syscall.Close(fd)
			} else {
				have(func() { answer(fd, head[:n]) })
			}
		}
	}
}

func answer(fd int, head []byte) {
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		panic(err)
	}
	recorder := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(recorder, request)
	result := recorder.Result()
	result.ContentLength = int64(recorder.Body.Len())
	var text bytes.Buffer
	if err := result.Write(&text); err != nil {
		panic(err)
	}
	syscall.Write(fd, text.Bytes())
}

// pool gives work to goroutines that are there from the beginning.
func pool() func(work func()) {
	jobs := make(chan func())
	for range [64]struct{}{} {
		go func() {
			for work := range jobs {
				work()
			}
		}()
	}
	return func(work func()) { jobs <- work }
}
