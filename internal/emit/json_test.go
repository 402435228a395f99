package emit

import (
	"math"
	"strconv"
	"testing"
)

func TestAppendInt(t *testing.T) {
	check := func(n int64) {
		if got, want := string(appendInt([]byte("x"), n)), "x"+strconv.FormatInt(n, 10); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for n := int64(1); n > 0 && n < math.MaxInt64/10; n *= 10 {
		for _, n := range []int64{n - 1, n, n + 1, 9 * n, -n} {
			check(n)
		}
	}
	check(math.MaxInt64)
	check(math.MinInt64)
	for n := range int64(12_000) {
		check(n)
	}
	for _, n := range []uint64{math.MaxUint64, 1e19, 1e19 - 1} {
		if got, want := string(appendUint(nil, n)), strconv.FormatUint(n, 10); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
