package http2

import (
	"net"
	"sync"
	"testing"
	"time"

	"apm-ebpf/internal/http1"
)

// tapped is a listener whose connections are followed by a Conn each, which sees what the kernel programs show: reads
// in pieces of kept bytes, of writes the first kept and the last 32 bytes.
type tapped struct {
	net.Listener
	wrap func(net.Conn) net.Conn // what is tapped, nil: the connection itself
	kept int

	mu       sync.Mutex
	start    time.Time
	requests []*http1.Request // ended, of all connections
	opened   int
	lost     uint64
	conns    sync.WaitGroup
}

func listen(t *testing.T) *tapped {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &tapped{Listener: l, kept: 4096, start: time.Now()}
}

func (l *tapped) now() uint64 { return uint64(time.Since(l.start)) + 1 }

func (l *tapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if l.wrap != nil {
		c = l.wrap(c)
	}
	l.conns.Add(1)
	return &tap{Conn: c, to: l}, nil
}

// tap is the server's end of a connection.
type tap struct {
	net.Conn
	to     *tapped
	http   Conn
	closed sync.Once
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.to.mu.Lock()
	defer c.to.mu.Unlock()
	for at := 0; at < n; at += c.to.kept {
		piece := p[at:min(n, at+c.to.kept)]
		opened, ended := c.http.Read(c.to.now(), http1.Chunk{Head: piece, Len: len(piece)})
		c.to.opened += len(opened)
		c.to.requests = append(c.to.requests, ended...)
	}
	return n, err
}

func (c *tap) Write(p []byte) (int, error) {
	ch := http1.Chunk{Head: p[:min(len(p), c.to.kept)], Len: len(p)}
	ch.Tail = p[max(len(ch.Head), len(p)-32):]
	c.to.mu.Lock() // now, since later the server may have read what the client does about it
	_, ended := c.http.Wrote(c.to.now(), ch)
	c.to.requests = append(c.to.requests, ended...)
	c.to.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *tap) Close() error {
	err := c.Conn.Close()
	c.closed.Do(func() {
		c.to.mu.Lock()
		defer c.to.mu.Unlock()
		c.to.requests = append(c.to.requests, c.http.Close(c.to.now(), http1.Closed)...)
		c.to.lost += c.http.LostReads + c.http.LostWrites
		c.to.conns.Done()
	})
	return err
}
