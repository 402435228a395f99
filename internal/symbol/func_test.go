package symbol

import "testing"

func TestInFile(t *testing.T) {
	for file, want := range map[string]bool{
		"/usr/lib/python3.11/queue.py": true,
		"queue.py":                     true, // of a frozen program
		"/srv/myqueue.py":              false,
		"myqueue.py":                   false,
		"":                             false,
	} {
		if got := (&Func{File: file}).InFile("/queue.py"); got != want {
			t.Errorf("%q is in /queue.py: %t", file, got)
		}
	}
	for file, want := range map[string]bool{
		"/srv/venv/anyio/to_thread.py": true,
		"anyio/to_thread.py":           true,
		"/srv/myanyio/x.py":            false,
		"/srv/anyio":                   false,
		"anyio":                        false,
		"":                             false,
	} {
		if got := (&Func{File: file}).InPackage("anyio"); got != want {
			t.Errorf("%q is in anyio: %t", file, got)
		}
	}
}
