package main

import "testing"

func TestBeginsRequest(t *testing.T) {
	for head, want := range map[string]bool{
		"GET / HTTP/1.1\r\n":          true,
		"ET / HTTP/1.1\r\n":           true,
		"OPTIONS * HTTP/1.1\r\n":      true,
		"PROPPATCH /a HTTP/1.1\r\n":   true,
		"4\r\nWORD\r\n":               false,
		"some text":                   false,
		"THIS-IS-NONE / HTTP/1.1\r\n": false,
		"POST":                        false,
		"":                            false,
	} {
		if got := beginsRequest([]byte(head)); got != want {
			t.Errorf("%q begins a request: %v, want %v", head, got, want)
		}
	}
}
