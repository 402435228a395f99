package http1

import "testing"

func whole(text string) Chunk { return Chunk{Head: []byte(text), Len: len(text)} }

const benchmarkHead = "GET /cart/42?full=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\nCookie: session=4c1f9e2a7b6d4f0e8a3b5c7d9e1f2a4b\r\n" +
	"X-APM-TRACER: 6f1b0c9e-6c1f-4b55-9d3e-6a2f6f3f7a10:1764000000\r\n\r\n"

// BenchmarkGet measures a request on a kept connection whose answer comes in two writes.
func BenchmarkGet(b *testing.B) {
	request := whole(benchmarkHead)
	head := whole("HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Mon, 24 Nov 2025 16:00:00 GMT\r\nConnection: keep-alive\r\n" +
		"Content-Type: text/html; charset=utf-8\r\nContent-Length: 1200\r\n\r\n")
	body := Chunk{Head: make([]byte, 64), Tail: make([]byte, 32), Len: 1200}
	var c Conn
	b.ReportAllocs()
	for ts := uint64(1); b.Loop(); ts += 3 {
		c.Read(ts, request)
		c.Wrote(ts+1, head)
		if _, ended := c.Wrote(ts+2, body); len(ended) != 1 {
			b.Fatal("the request did not end")
		}
	}
}
