package http1

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// packet makes one of uWSGI's protocol out of names and values.
func packet(variables ...string) string {
	var text []byte
	for _, v := range variables {
		text = binary.LittleEndian.AppendUint16(text, uint16(len(v)))
		text = append(text, v...)
	}
	return string(binary.LittleEndian.AppendUint16([]byte{0}, uint16(len(text)))) + "\x00" + string(text)
}

var posted = packet("QUERY_STRING", "x=1", "REQUEST_METHOD", "POST", "CONTENT_LENGTH", "4", "REQUEST_URI", "/a?x=1",
	"SERVER_PROTOCOL", "HTTP/1.1", "REMOTE_ADDR", "192.0.2.1", "REMOTE_PORT", "50122", "HTTP_HOST", "h",
	"HTTP_X_APM_TRACER", "6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10:1764000000")

func TestPacket(t *testing.T) {
	var c Conn
	opened, _ := c.Read(1, whole(posted+"body"))
	if len(opened) != 1 {
		t.Fatalf("%d requests", len(opened))
	}
	q := opened[0]
	if q.Method != "POST" || q.Target != "/a?x=1" || q.Proto != "HTTP/1.1" || q.Host != "h" || q.ClientTime != "1764000000" ||
		q.TraceID != "6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10" || q.Client != netip.MustParseAddrPort("192.0.2.1:50122") {
		t.Errorf("%+v", q)
	}
	if q.BytesIn != int64(len(posted+"body")) {
		t.Errorf("%d bytes, want %d", q.BytesIn, len(posted+"body"))
	}
	if _, ended := c.Wrote(2, whole(ok2)); len(ended) != 1 || ended[0] != q || q.Status != 200 {
		t.Errorf("ended: %v, %+v", ended, q)
	}
}

// TestPacketOfRouter has the port of uWSGI's own router: 50122 is 0xc3ca, 51907 0xcac3.
func TestPacketOfRouter(t *testing.T) {
	var c Conn
	opened, _ := c.Read(1, whole(packet("REQUEST_METHOD", "GET", "REQUEST_URI", "/", "SERVER_PROTOCOL", "HTTP/1.1",
		"UWSGI_ROUTER", "http", "REMOTE_ADDR", "192.0.2.1", "REMOTE_PORT", "51907")))
	if len(opened) != 1 || opened[0].Client != netip.MustParseAddrPort("192.0.2.1:50122") {
		t.Errorf("%+v", opened)
	}
}

// TestPacketSplit has a packet arrive in two reads, split at any byte, and two packets on one connection.
func TestPacketSplit(t *testing.T) {
	text := posted + "body"
	for i := 1; i < len(text); i++ {
		var c Conn
		got := play(&c, read(text[:i]), read(text[i:]), wrote(ok2), read(text), wrote(ok2))
		done := 2
		if i >= len(posted) {
			done = 1
		}
		want := []string{"POST /a?x=1 200 1," + string(rune('0'+done)) + ",3,3@3", "POST /a?x=1 200 4,4,5,5@5"}
		if !slices.Equal(got, want) {
			t.Fatalf("split at %d: %q, want %q", i, got, want)
		}
	}
}

// TestNoPacket shows what is none, and a request that must be found after it.
func TestNoPacket(t *testing.T) {
	for name, text := range map[string]string{
		"zeros":             strings.Repeat("\x00", 100),
		"other modifier":    "\x00\x10\x00\x05" + strings.Repeat("A", 16),
		"name beyond":       "\x00\x04\x00\x00\xff\x00AB",
		"no method":         packet("REQUEST_URI", "/", "SERVER_PROTOCOL", "HTTP/1.1"),
		"no target":         packet("REQUEST_METHOD", "GET", "SERVER_PROTOCOL", "HTTP/1.1"),
		"protocol":          packet("REQUEST_METHOD", "GET", "REQUEST_URI", "/", "SERVER_PROTOCOL", "INCLUDED"),
		"method of garbage": packet("REQUEST_METHOD", "G T", "REQUEST_URI", "/", "SERVER_PROTOCOL", "HTTP/1.1"),
	} {
		var c Conn
		got := play(&c, read(text), read("GET / HTTP/1.1\r\n\r\n"), wrote(ok2))
		if want := []string{"GET / 200 2,2,3,3@3"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
