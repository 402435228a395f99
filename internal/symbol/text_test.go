package symbol

import (
	"testing"
	"unicode/utf8"
)

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		raw  string
		kind int
		want string
	}{
		{"caf\xe9\x00\n", 1, "café\x00\n"},
		{"\x3f\x04\x40\x04", 2, "пр"},
		{"\x00\xd8a\x00\xff\xff", 2, "\ufffda\uffff"},
		{"\x00\xf6\x01\x00", 4, "😀"},
		{"\xff\xff\xff\xff\x00\x00\x11\x00", 4, "\ufffd\ufffd"},
		{"abc", 2, "扡"},
		{"", 4, ""},
	} {
		if got := decode([]byte(test.raw), test.kind); got != test.want {
			t.Errorf("decode(%q, %d) = %q, want %q", test.raw, test.kind, got, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x00\xd8a\x00"), 2)
	f.Fuzz(func(t *testing.T, raw []byte, kind int) {
		if kind != 1 && kind != 2 && kind != 4 {
			return
		}
		if got := decode(raw, kind); !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
	})
}
