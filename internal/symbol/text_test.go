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
		{"\x00\xdc\x00\x00\xff\xff\x10\x00", 4, "\ufffd\U0010ffff"},
		{"abc", 2, "扡"},
		{"", 4, ""},
	} {
		got, ok := decode([]byte(test.raw), test.kind)
		if got != test.want || ok == strings.Contains(got, "\x00") {
			t.Errorf("decode(%q, %d) = %q, %t, want %q", test.raw, test.kind, got, ok, test.want)
		}
	}
}

// TestNoText has str objects say of themselves what none does.
func TestNoText(t *testing.T) {
	if text, ok := decode([]byte("a\x00\x00\x00\x00\x00\x11\x00"), 4); ok {
		t.Errorf("what is beyond Unicode is told as %q", text)
	}
	l := Layout{StrKind: 2, StrASCII: 40, StrCompact: 56}
	for state, want := range map[uint32]bool{
		0b11001: true, 0b01001: true, 0b01010: true, 0b01100: true, 0b11010: false, 0b11100: false, 0b10001: false, 0b01011: false, 0b01000: false,
	} {
		if _, _, ok := l.textKind(state << l.StrKind); ok != want {
			t.Errorf("state %#b: %t", state, ok)
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
