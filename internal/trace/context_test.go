package trace

import (
	"testing"

	"apm-ebpf/internal/symbol"
)

// TestContextsForgotten has one process come to know ever more paths beside one that knows few.
func TestContextsForgotten(t *testing.T) {
	tracer := New(1, func(*Request) {})
	many, few := tracer.process(1), tracer.process(2)
	kept := few.contexts.call(nil, &symbol.Func{Name: "kept"}, 0)
	fn := &symbol.Func{Name: "f"}
	for line := range int32(3 * contextLimit) {
		many.contexts.call(nil, fn, line)
		if n := len(many.contexts.known) + len(few.contexts.known); n != tracer.paths || n > 2*contextLimit {
			t.Fatalf("%d paths are known, %d counted", n, tracer.paths)
		}
	}
	if few.contexts.call(nil, kept.fn, 0) != kept {
		t.Error("the one that knows few has forgotten them")
	}
	tracer.Exit(1, 0)
	if tracer.paths != 1 {
		t.Errorf("%d paths are counted when the process has ended, want 1", tracer.paths)
	}
}
