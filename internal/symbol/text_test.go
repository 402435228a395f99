package symbol

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		raw  string
		kind int
		want string
	}{
		{"caf\xe9\n", 1, "café\n"},
		{"caf\xe9\x00\n", 1, "café\x00\n"},
		{"\x3f\x04\x40\x04", 2, "пр"},
		{"\x00\xd8a\x00\xff\xff", 2, "\ufffda\uffff"},
		{"\x00\xf6\x01\x00", 4, "😀"},
		{"\xff\xff\xff\xff\x00\x00\x11\x00", 4, "\ufffd\ufffd"},
		{"abc", 2, "扡"},
		{"", 4, ""},
	} {
		got, ok := decode([]byte(test.raw), test.kind)
		if got != test.want || ok == strings.Contains(got, "\x00") {
			t.Errorf("decode(%q, %d) = %q, %t, want %q", test.raw, test.kind, got, ok, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x00\xd8a\x00"), 2)
	f.Fuzz(func(t *testing.T, raw []byte, kind int) {
		if kind != 1 && kind != 2 && kind != 4 {
			return
		}
		if got, _ := decode(raw, kind); !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
	})
}
