package http2

import (
	"runtime"
	"strings"
	"testing"

	"apm-ebpf/internal/http1"
)

// held gives the bytes of the heap that are in use.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestManyOpen(t *testing.T) {
	c, p := new(Conn), newPeer()
	c.Read(1, whole(hello))
	opened := 0
	for i := range 2 * maxOpen {
		qs, _ := c.Read(2, whole(p.get(uint32(2*i+1), "/")))
		opened += len(qs)
	}
	if opened != maxOpen || c.LostReads != maxOpen {
		t.Errorf("%d requests were told, %d counted as lost", opened, c.LostReads)
	}
	c.Missed()
	if qs, ended := c.Read(3, whole(p.get(4*maxOpen+1, "/"))); len(qs) != 1 || len(ended) != maxOpen {
		t.Errorf("after a loss %d requests began and %d ended", len(qs), len(ended))
	}
	if ended := c.Close(4, http1.Closed); len(ended) != 1 {
		t.Errorf("%d requests ended at the close", len(ended))
	}
}

// TestLongTargets opens requests whose targets are in the dynamic table, so that few bytes stand for many.
func TestLongTargets(t *testing.T) {
	c, p := new(Conn), newPeer()
	p.enc.SetMaxDynamicTableSizeLimit(maxTable)
	p.enc.SetMaxDynamicTableSize(maxTable)
	path := "/" + strings.Repeat("x", 50_000)
	c.Read(1, whole(hello))
	before := held()
	cut := 0
	for i := range 2000 {
		qs, _ := c.Read(2, whole(p.get(uint32(2*i+1), path)))
		if len(qs) != 1 || !strings.HasPrefix(path, qs[0].Target) || qs[0].Truncated != (len(qs[0].Target) < len(path)) {
			t.Fatalf("request %d is told as %+v", i, qs)
		}
		if qs[0].Truncated {
			cut++
		}
	}
	const bound = maxTargets + 2000*leastTarget
	if size := held() - before; c.targets > bound || size > 2*bound || cut < 1000 || cut > 1900 {
		t.Errorf("%d bytes of targets in %d bytes of memory; %d were cut", c.targets, size, cut)
	}
	c.Close(3, http1.Closed)
	if c.targets != 0 {
		t.Errorf("%d bytes of targets after the close", c.targets)
	}
}

func TestRapidReset(t *testing.T) {
	c, p := new(Conn), newPeer()
	c.Read(1, whole(hello))
	before := held()
	for i := range 100_000 {
		id := uint32(2*i + 1)
		opened, ended := c.Read(2, whole(p.get(id, "/")+reset(id)))
		if len(opened) != 1 || len(ended) != 1 {
			t.Fatalf("stream %d: %d opened, %d ended", id, len(opened), len(ended))
		}
	}
	if size := held() - before; size > 100<<10 || !c.Idle() {
		t.Errorf("%d bytes are left", size)
	}
}

// TestEndlessHead shows heads that go on and on.
func TestEndlessHead(t *testing.T) {
	repeated := newPeer()
	repeated.block(":path=/" + strings.Repeat("p", 3000))
	for name, part := range map[string]string{
		"one string":   strings.Repeat("x", 16_000),
		"fields":       strings.Repeat("\x00\x01a\x01b", 4000),
		"table":        strings.Repeat("\x40\x01a\x01b", 4000),
		"same field":   strings.Repeat(repeated.block(":path=/"+strings.Repeat("p", 3000)), 4000),
		"empty frames": "",
	} {
		t.Run(name, func(t *testing.T) {
			c := new(Conn)
			first := newPeer().block(":method=GET", ":path=/"+strings.Repeat("p", 3000))
			if name == "one string" {
				first += "\x00\x01a\x7f\x80\x80\x80\x80\x08"
			}
			c.Read(1, whole(hello+made(frameHeaders, 0, 1, first)))
			before := held()
			more := whole(made(frameContinuation, 0, 1, part))
			for range 1000 {
				c.Read(2, more)
			}
			if size := held() - before; size > 300<<10 {
				t.Errorf("%d bytes are held", size)
			}
			opened, _ := c.Read(3, whole(made(frameContinuation, flagEndHeaders, 1, "")))
			if len(opened) != 1 || opened[0].Method != "GET" || len(opened[0].Target) != 3001 || opened[0].Truncated != (name == "one string") {
				t.Errorf("got %+v", opened)
			}
		})
	}
}
