package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestThreadsOfOthers has requests served by threads that are none of Python's, as servers in C and Rust have them: each
// gets a state of the interpreter for every request, and loses it afterwards.
func TestThreadsOfOthers(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no C compiler")
	}
	library := filepath.Join(t.TempDir(), "native.so")
	if out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", library, "testdata/native.c", "-lpthread").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	onEachPython(t, func(t *testing.T, python Python) {
		s := startService(t, python, "native.py", library)
		s.Address = "127.0.0.1:" + s.Log.wait(t, `Listening at: (\d+)`, 1)[0]
		a := attach(t, s.PID, "-F", "1000")
		const n = 60
		var answers []*Answer
		for k := range n {
			answers = append(answers, s.get(t, fmt.Sprint("/only_", k%32)))
		}
		records := a.exactly(t, n)
		checkSums(t, records...)
		var c comparison
		for _, answer := range answers {
			compareTimes(t, &c, byID(t, records)[answer.ID], answer.Truth)
		}
		c.check(t)
	})
}
