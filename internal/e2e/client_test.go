package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Client is one connection to a server.
type Client struct {
	net.Conn
	reader *bufio.Reader
	host   string
}

// Answer is what a request brought.
type Answer struct {
	*http.Response
	Text  string             // the body
	Truth map[string]float64 // seconds by function, as the service measured them
	ID    string             // trace ID that the request was sent with
}

func dial(t testing.TB, address string) *Client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	return newClient(t, conn, err, address)
}

func newClient(t testing.TB, conn net.Conn, err error, address string) *Client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return &Client{Conn: conn, reader: bufio.NewReader(conn), host: address}
}

// dial connects to a service as it wants it.
func (s *Service) dial(t testing.TB) *Client {
	t.Helper()
	if !s.tls {
		return dial(t, s.Address)
	}
	conn, err := tls.Dial("tcp", s.Address, &tls.Config{InsecureSkipVerify: true})
	return newClient(t, conn, err, s.Address)
}

// head is a request head with a trace ID of its own and more headers, which end with \r\n.
func (c *Client) head(method, target, headers string) (text, id string) {
	id = uuid.NewString()
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nX-APM-TRACER: %s:1700000000\r\n%s\r\n", method, target, c.host, id, headers), id
}

func (c *Client) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("send %.80q: %v", text, err)
	}
}

// answer reads the answer to a request of a method.
func (c *Client) answer(t testing.TB, method string) *Answer {
	t.Helper()
	response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil && err != io.ErrUnexpectedEOF {
		t.Fatalf("read the answer's body: %v", err)
	}
	a := &Answer{Response: response, Text: string(body)}
	if truth := response.Header.Get("X-Truth"); truth != "" {
		if err := json.Unmarshal([]byte(truth), &a.Truth); err != nil {
			t.Fatalf("X-Truth: %v", err)
		}
	}
	return a
}

// do sends a request and reads the answer.
func (c *Client) do(t testing.TB, method, target, headers, body string) *Answer {
	t.Helper()
	head, id := c.head(method, target, headers)
	c.send(t, head+body)
	a := c.answer(t, method)
	a.ID = id
	return a
}

// get asks for a target on a connection of its own.
func (s *Service) get(t testing.TB, target string) *Answer {
	t.Helper()
	c := s.dial(t)
	defer c.Close()
	return c.do(t, "GET", target, "Connection: close\r\n", "")
}

// chunked frames a body as chunks of a size.
func chunked(body string, size int) string {
	var text strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&text, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return text.String() + "0\r\n\r\n"
}
