package http2

import (
	"testing"

	"apm-ebpf/internal/http1"
)

// BenchmarkRequest follows a request as Go's client sends it, with a body in the answer.
func BenchmarkRequest(b *testing.B) {
	client, server := newPeer(), newPeer()
	request := func(stream uint32) http1.Chunk {
		return whole(client.headers(stream, flagEndStream, ":authority=shop.example", ":method=GET", ":path=/cart?id=1", ":scheme=http",
			"x-apm-tracer=6f1b0c9e6c1f4b559d3e6a2f6f3f7a10:1764000000", "accept-encoding=gzip", "user-agent=Go-http-client/2.0"))
	}
	answer := func(stream uint32) http1.Chunk {
		return whole(server.headers(stream, 0, ":status=200", "content-type=text/html; charset=utf-8", "content-length=1200",
			"date=Mon, 24 Nov 2025 16:00:00 GMT"))
	}
	c := new(Conn)
	c.Read(1, whole(hello))
	c.Read(1, request(1))
	c.Wrote(1, answer(1))
	head, answered := request(3), answer(3) // all in the tables
	body := whole(data(3, flagEndStream, string(make([]byte, 1200))))
	body.Head, body.Tail = body.Head[:64], body.Head[len(body.Head)-32:]
	b.ReportAllocs()
	for ts := uint64(1); b.Loop(); ts += 3 {
		c.last = 1
		c.Read(ts, head)
		c.Wrote(ts+1, answered)
		if _, ended := c.Wrote(ts+2, body); len(ended) != 1 {
			b.Fatal("the request did not end")
		}
	}
}
