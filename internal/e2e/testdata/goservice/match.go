package main

import (
	"bufio"
	"net"
)

// matched is a listener that finds out by the first bytes which protocol a connection speaks, as github.com/soheilhy/cmux
// does: they are read by other goroutines than those that serve.
type matched struct {
	net.Listener
	conns chan net.Conn
}

func match(listener net.Listener) net.Listener {
	m := matched{listener, make(chan net.Conn)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go m.match(conn)
		}
	}()
	return m
}

func (m matched) match(conn net.Conn) {
	reader := bufio.NewReader(conn)
	reader.Peek(1)
	m.conns <- &balancedConn{conn, reader, true}
}

func (m matched) Accept() (net.Conn, error) { return <-m.conns, nil }
