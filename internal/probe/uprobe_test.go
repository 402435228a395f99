package probe

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUprobes hits one in another thread than the first, whatever way it is attached, and none after Release.
func TestUprobes(t *testing.T) {
	for name, lacks := range map[string]lacks{"uprobe_multi": {}, "perf events": {multi: true}} {
		t.Run(name, func(t *testing.T) {
			p := open(t, lacks)
			if err := p.AddPython(os.Getpid(), Python{}); err != nil {
				t.Fatal(err)
			}
			at := offsetOf(t, probed)
			if err := p.AttachGreenlet(os.Getpid(), "/proc/self/exe", at, at, false); err != nil {
				t.Fatal(err)
			}
			inAnotherThread(probed)
			if !sawGreenlets(t, p) {
				t.Error("not hit")
			}
			p.Release(os.Getpid())
			p.closer.wait()
			if err := p.AddPython(os.Getpid(), Python{}); err != nil {
				t.Fatal(err)
			}
			inAnotherThread(probed)
			if sawGreenlets(t, p) {
				t.Error("hit after it was detached")
			}
		})
	}
}

// TestUprobesOfOthers leaves alone other processes than the one that a uprobe is attached for.
func TestUprobesOfOthers(t *testing.T) {
	p := open(t, lacks{})
	if err := p.AddPython(os.Getpid(), Python{}); err != nil {
		t.Fatal(err)
	}
	at := offsetOf(t, probed)
	if err := p.AttachGreenlet(os.Getppid(), "/proc/self/exe", at, at, false); err != nil {
		t.Fatal(err)
	}
	inAnotherThread(probed)
	if sawGreenlets(t, p) {
		t.Error("hit in a process that it was not attached for")
	}
}

// TestUprobesOfAll attaches none where one of them cannot be.
func TestUprobesOfAll(t *testing.T) {
	for name, lacks := range map[string]lacks{"uprobe_multi": {}, "perf events": {multi: true}} {
		t.Run(name, func(t *testing.T) {
			p := open(t, lacks)
			if err := p.AddPython(os.Getpid(), Python{}); err != nil {
				t.Fatal(err)
			}
			if err := p.AttachGreenlet(os.Getpid(), "/proc/self/exe", offsetOf(t, probed), 1<<40, false); err == nil {
				t.Error("attached beyond the end of the file")
			}
			inAnotherThread(probed)
			if sawGreenlets(t, p) {
				t.Error("hit, though another was not attached")
			}
		})
	}
}

// TestUprobesOfEnded tells a process that has ended from other reasons.
func TestUprobesOfEnded(t *testing.T) {
	ended := exec.Command("/proc/self/exe", "-test.run", "^$")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for name, lacks := range map[string]lacks{"uprobe_multi": {}, "perf events": {multi: true}} {
		t.Run(name, func(t *testing.T) {
			at := offsetOf(t, probed)
			if err := open(t, lacks).AttachGreenlet(ended.Process.Pid, "/proc/self/exe", at, at, false); !errors.Is(err, unix.ESRCH) {
				t.Errorf("%v", err)
			}
		})
	}
}

//go:noinline
func probed() int { return os.Getpagesize() }

// inAnotherThread runs function in another thread than the first of this process.
func inAnotherThread(function func() int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if unix.Gettid() != os.Getpid() {
		function()
		return
	}
	done := make(chan int)
	go func() { done <- function() }()
	<-done
}

// sawGreenlets tells whether the program for greenlets has run in this process.
func sawGreenlets(t *testing.T, p *Probe) bool {
	t.Helper()
	var self apmTarget
	if err := p.objects.Targets.Lookup(uint32(os.Getpid()), &self); err != nil {
		t.Fatal(err)
	}
	return self.Lanes != 0
}

// offsetOf is where in its file a function of this program begins.
func offsetOf(t *testing.T, function func() int) uint64 {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	address := uint64(reflect.ValueOf(function).Pointer())
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && address >= p.Vaddr && address < p.Vaddr+p.Filesz {
			return address - p.Vaddr + p.Off
		}
	}
	t.Fatalf("%#x lies in no segment", address)
	return 0
}
