package emit

import (
	"net/netip"
	"testing"
	"unicode/utf8"
)

func TestEndpoint(t *testing.T) {
	tests := []struct{ method, target, want string }{
		{"GET", "/", "/"},
		{"GET", "/cart", "/cart"},
		{"GET", "/cart?user=1&b=%41", "/cart"},
		{"GET", "/cart#part", "/cart"},
		{"GET", "/a?b#c?d", "/a"},
		{"GET", "/caf%C3%A9/%e6%bc%A2", "/café/漢"},
		{"GET", "/a%2Fb%3Fc%25", "/a/b?c%"},
		{"GET", "/a+b", "/a+b"},
		{"GET", "/%zz%4%", "/%zz%4%"},
		{"GET", "/%%41", "/%A"},
		{"GET", "/%2541", "/%41"},
		{"GET", "/%ff%fe", "/\ufffd\ufffd"},
		{"GET", "/%e6%bc", "/\ufffd\ufffd"},
		{"GET", "/\xff\xff", "/\ufffd\ufffd"},
		{"GET", "/%00%0a", "/\x00\n"},
		{"GET", "//host/path", "//host/path"},
		{"GET", "/http://other/x", "/http://other/x"},
		{"GET", "http://host/path?q", "/path"},
		{"GET", "HTTPS://user:secret@host:443/a%20b#f", "/a b"},
		{"GET", "http://host", "/"},
		{"GET", "http://host?q=/x", "/"},
		{"GET", "http://[::1]:80/x", "/x"},
		{"GET", "1http://host/x", "1http://host/x"},
		{"GET", "", ""},
		{"OPTIONS", "*", "*"},
		{"CONNECT", "shop.example:443", "shop.example:443"},
		{"CONNECT", "[::1]:443", "[::1]:443"},
		{"CONNECT", "user:secret@host:443?x", "host:443"},
		{"CONNECT", "https://host:443/x", "host:443"},
		{"CONNECT", "/path?q", "/path"},
	}
	for _, tt := range tests {
		if got := Endpoint(tt.target, false, tt.method); got != tt.want {
			t.Errorf("%s %q gives %q, want %q", tt.method, tt.target, got, tt.want)
		}
	}
	for _, target := range []string{"/a%20b?c=d#e", "*", "http://u:p@h/p?q", "h:443"} {
		if got := Endpoint(target, true, "GET"); got != target {
			t.Errorf("%q with its query became %q", target, got)
		}
	}
	if got := Endpoint("/\xff?\xfe", true, "GET"); got != "/\ufffd?\ufffd" {
		t.Errorf("invalid bytes became %q", got)
	}
}

func TestEndpointOfPlainPathDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Endpoint("/cart/12?x=%41", false, "GET") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzEndpoint(f *testing.F) {
	f.Add("/a%20b?c", "GET")
	f.Add("http://h", "CONNECT")
	f.Fuzz(func(t *testing.T, target, method string) {
		for _, withQuery := range []bool{false, true} {
			if got := Endpoint(target, withQuery, method); !utf8.ValidString(got) {
				t.Errorf("%s %q gives %q", method, target, got)
			}
		}
	})
}

func TestServices(t *testing.T) {
	tests := []struct{ local, host, want string }{
		{"127.0.0.1:8000", "shop.example", "127.0.0.1:8000"},
		{"[::1]:8000", "", "[::1]:8000"},
		{"[::ffff:10.0.0.1]:8000", "", "10.0.0.1:8000"},
		{"", "shop.example", "shop.example:80"},
		{"", "shop.example:8080", "shop.example:8080"},
		{"", "shop.example:", "shop.example:80"},
		{"", "[::1]", "[::1]:80"},
		{"", "[::1]:90", "[::1]:90"},
		{"", "", ":80"},
	}
	for _, tt := range tests {
		var local netip.AddrPort
		if tt.local != "" {
			local = netip.MustParseAddrPort(tt.local)
		}
		if got := Services(local, tt.host); got != tt.want {
			t.Errorf("%q with Host %q gives %q, want %q", tt.local, tt.host, got, tt.want)
		}
	}
}
