package main

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUntold has the ends of processes lost, of one that was looked at and of one that was not yet.
func TestUntold(t *testing.T) {
	start := func() *exec.Cmd {
		child := exec.Command("sleep", "1000")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		return child
	}
	known, born := start(), start()
	pidfd, err := unix.PidfdOpen(known.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	ss := &services{
		known: map[int]*service{known.Process.Pid: {pidfd: pidfd}},
		born:  map[int]*service{born.Process.Pid: {}, os.Getpid(): {}},
	}
	for range 2 {
		if pids := ss.untold(); len(pids) > 0 {
			t.Errorf("%v have ended, which run", pids)
		}
	}
	for _, child := range []*exec.Cmd{known, born} {
		child.Process.Kill()
		child.Wait()
	}
	if pids := ss.untold(); len(pids) > 0 {
		t.Errorf("%v have ended untold, whose ends may be told yet", pids)
	}
	want := []int{known.Process.Pid, born.Process.Pid}
	if pids := ss.untold(); !slices.Equal(pids, want) {
		t.Errorf("%v have ended untold, want %v", pids, want)
	}
}
