package trace

import (
	"net/netip"

	"apm-ebpf/internal/http1"
	"apm-ebpf/internal/httpconn"
)

// conn is one connection on which a target serves requests.
type conn struct {
	http     httpconn.Conn
	requests []*Request // open, in order
	turns    []turn     // of threads, since one of them was read
	connState
}

// connState is what a conn does not keep for the connection after.
type connState struct {
	id            uint64
	process       *process
	pid           uint32
	local, remote netip.AddrPort // not valid on a Unix socket
	inode         uint64         // of a Unix socket

	openAt int // place among the open ones of the process, from 1; 0: it is none of them

	begun   uint64 // the read that the kernel programs took for the beginning of a request, which names it there
	sampled bool   // stacks are taken for it
	reader  uint64 // goroutine that reads what began there
	reads   uint64 // since when it does: another may have read before, while it was at work for the request before
	wrote   uint64 // last write
	lost    uint64 // stack events of the process that were lost, so far
	hungUp  bool   // the peer reset the connection
	framed  bool   // it speaks HTTP/2

	vanished uint64 // when the Unix socket was found to be gone, 0: not yet
}

// sparesMax is how many connections that have ended are kept for others, and how many requests.
const sparesMax = 256

// reset makes c one of which nothing is known. It keeps its buffers.
func (c *conn) reset() {
	c.http.Reset()
	clear(c.requests)
	clear(c.turns)
	c.requests, c.turns = c.requests[:0], c.turns[:0]
	c.connState = connState{}
}

// Connection is what is known of a connection when it is first seen.
type Connection struct {
	ID            uint64 // names it as long as it lasts
	PID           uint32
	Local, Remote netip.AddrPort // not valid on a Unix socket
	Inode         uint64         // of a Unix socket, else 0
}

// left gives a connection on a Unix socket that is about to be dropped, for the kernel programs to forget.
func (c *conn) left() Connection { return Connection{ID: c.id, PID: c.pid, Inode: c.inode} }

// Window names the part of a connection's life for which the kernel programs take stacks.
type Window struct{ Connection, Begun uint64 }

// Transfer is one read or write of a target on a connection.
type Transfer struct {
	Connection uint64
	Begun      uint64 // names the window, with Connection
	Begins     bool   // a window begins with it
	Sampled    bool
	Framed     bool // HTTP/2
	PID, TID   uint32
	Time       uint64    // CLOCK_MONOTONIC, ns
	Lost       uint64    // stack events of the process that were lost, so far
	Missed     bool      // a transfer on the connection was lost before this one
	Goroutine  Goroutine // that read or wrote
	Chunk      http1.Chunk
}
