package target

import (
	"reflect"
	"strings"
	"testing"
)

const someMaps = `00400000-0041f000 r--p 00000000 fe:01 1234                               /usr/bin/python3.11
0041f000-006c6000 r-xp 0001f000 fe:01 1234                               /usr/bin/python3.11
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7f0000001000-7f0000002000 r--p 00000000 fe:01 99                         /srv/my app/lib python3.so (deleted)
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
7f0000003000-7f0000004000 r--s 00000000 00:01 7                          /dev/shm/a\012b
`

func TestParseMaps(t *testing.T) {
	want := []Mapping{
		{0x400000, 0x41f000, 0, "r--p", 1234, "/usr/bin/python3.11"},
		{0x41f000, 0x6c6000, 0x1f000, "r-xp", 1234, "/usr/bin/python3.11"},
		{0x7f0000001000, 0x7f0000002000, 0, "r--p", 99, "/srv/my app/lib python3.so"},
		{0x7f0000003000, 0x7f0000004000, 0, "r--s", 7, "/dev/shm/a\nb"},
	}
	if got := parseMaps([]byte(someMaps)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, bad := range []string{"", "x", "1-2", "2-1 r--p 0 0:0 1 /a", "1-2 r--p 0 0:0 x /a", "g-h r--p 0 0:0 1 /a"} {
		if got := parseMaps([]byte(bad)); len(got) > 0 {
			t.Errorf("parseMaps(%q) = %+v", bad, got)
		}
	}
}

func FuzzParseMaps(f *testing.F) {
	f.Add(someMaps)
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMaps([]byte(text)) {
			if m.End <= m.Start || !strings.HasPrefix(m.Path, "/") {
				t.Errorf("%+v", m)
			}
		}
	})
}

func TestInside(t *testing.T) {
	for _, test := range []struct{ root, path, want string }{
		{"", "/usr/bin/python3", "/usr/bin/python3"},
		{"/srv/jail", "/srv/jail/usr/bin/python3", "/usr/bin/python3"},
		{"/srv/jail", "/srv/jail", "/"},
		{"/srv/jail", "/srv/jailed/python3", "/srv/jailed/python3"},
	} {
		if have := inside(test.root, test.path); have != test.want {
			t.Errorf("inside(%q, %q) = %q, want %q", test.root, test.path, have, test.want)
		}
	}
}
