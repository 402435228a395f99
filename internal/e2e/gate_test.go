package e2e

import (
	"bufio"
	"net"
	"testing"
	"time"
)

// Gate is where a view waits until the test lets it go on.
type Gate struct {
	net.Listener
	t testing.TB
}

func newGate(t testing.TB) *Gate {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return &Gate{listener, t}
}

// held sends a request for a view that comes to the gate, and waits until it is there. It returns the request's trace ID
// and what lets the view go on.
func (g *Gate) held(c *Client, view, headers string) (id string, open func()) {
	g.t.Helper()
	head, id := c.head("GET", view+"?gate="+g.Addr().String(), headers)
	c.send(g.t, head)
	return id, g.arrival()
}

// arrival waits for a view and returns what lets it go on.
func (g *Gate) arrival() (open func()) {
	g.t.Helper()
	g.Listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := g.Accept()
	if err != nil {
		g.t.Fatal("no view came to the gate: ", err)
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return func() { conn.Close() }
}
