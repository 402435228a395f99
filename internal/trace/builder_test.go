package trace

import (
	"fmt"
	"testing"

	"apm-ebpf/internal/symbol"
)

// TestLines tells each call's time by line, also of calls that move below the root.
func TestLines(t *testing.T) {
	outer, inner := &symbol.Func{Name: "outer"}, &symbol.Func{Name: "inner"}
	var c Contexts
	first := c.call(nil, outer, 1)
	var b builder
	for range 2 { // the second tree has nothing of the first
		b.reset()
		b.add(&slice{stack: c.call(first, inner, 5)}, 0, 3)
		b.add(&slice{stack: c.call(first, inner, 6)}, 0, 4)
		b.add(&slice{stack: c.call(nil, outer, 2)}, 0, 1)
		b.add(&slice{stack: c.call(c.call(nil, Truncated, 0), inner, 5)}, 0, 2)
		var told string
		for _, f := range b.frames() {
			told += fmt.Sprintln(f.Depth, f.Function, f.Time, f.Lines)
		}
		const want = "1 inner 7 [{5 3} {6 4}]\n2 inner 2 [{5 2}]\n1 [truncated] 2 []\n0 outer 10 [{1 7} {2 1}]\n"
		if told != want {
			t.Errorf("have\n%swant\n%s", told, want)
		}
	}
}
