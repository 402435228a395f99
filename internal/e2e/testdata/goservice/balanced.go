package main

import (
	"bufio"
	"io"
	"net"
)

// balanced is a listener behind a load balancer, which tells the client of each connection in the PROXY protocol.
type balanced struct{ net.Listener }

func (b balanced) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &balancedConn{conn, bufio.NewReader(conn), false}, nil
}

type balancedConn struct {
	net.Conn
	reader *bufio.Reader
	begun  bool
}

// Read takes the header off first: a line, or as many bytes as the binary one has with two addresses of IPv4.
func (c *balancedConn) Read(b []byte) (int, error) {
	if !c.begun {
		c.begun = true
		first, err := c.reader.Peek(1)
		switch {
		case err != nil:
		case first[0] == '\r':
			_, err = io.CopyN(io.Discard, c.reader, 28)
		default:
			_, err = c.reader.ReadString('\n')
		}
		if err != nil {
			return 0, err
		}
	}
	return c.reader.Read(b)
}
