package goroutine

import (
	"strconv"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

// BenchmarkLook looks at parked goroutines: ns/op is one look at all of them, when nothing has changed.
func BenchmarkLook(b *testing.B) {
	toolchain := targettest.Toolchains(b)[0]
	exe := toolchain.BuildGo(b, "testdata/parked", targettest.Build{})
	for _, n := range []int{100, 1000} {
		p := startParked(b, exe, toolchain.Minor, strconv.Itoa(n))
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := p.reader()
			left := n
			for id, g := range p.addresses() {
				if left > 0 {
					r.Watch(id, g, 0)
					left--
				}
			}
			look(b, r)
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Look(func(*Sight) {}); err != nil {
					b.Fatal(err)
				}
			}
			cost, search := r.pace.look, r.pace.walk
			b.ReportMetric(float64(cost.Nanoseconds()), "cpu-ns/op")
			b.ReportMetric(float64(search.Nanoseconds()), "cpu-ns/search")
		})
	}
}
