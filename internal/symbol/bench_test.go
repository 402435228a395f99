package symbol

import (
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// stackCodes gives the code objects of a deep stack.
func stackCodes(b *testing.B, python targettest.Interpreter) (*Python, []uint64) {
	b.Helper()
	_, _, process, symbols := start(b, python, "stacks.py")
	threads, err := symbols.threads(process.Python.Runtime)
	if err != nil {
		b.Fatal(err)
	}
	known := map[uint64]bool{}
	var codes []uint64
	for _, thread := range threads {
		stack, err := symbols.stack(thread.frame)
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range stack {
			if !known[f.code] {
				codes = append(codes, f.code)
			}
			known[f.code] = true
			symbols.Func(f.code)
		}
	}
	return symbols, codes
}

// What it costs to learn the name of a function.
func BenchmarkLoad(b *testing.B) {
	for _, python := range targettest.Interpreters(b) {
		b.Run(python.String(), func(b *testing.B) {
			symbols, codes := stackCodes(b, python)
			for i := 0; b.Loop(); i++ {
				symbols.load(codes[i%len(codes)])
			}
		})
	}
}
