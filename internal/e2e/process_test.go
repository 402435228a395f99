package e2e

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Process is a started program with all that it prints to standard error. Its children are in a group of its own,
// which ends with the test.
type Process struct {
	*exec.Cmd
	Log  *Output
	done chan struct{}
}

func startProcess(t testing.TB, command *exec.Cmd) *Process {
	t.Helper()
	p := &Process{Cmd: command, Log: newOutput(), done: make(chan struct{})}
	command.Stderr = p.Log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.WaitDelay = time.Second // for children that keep standard error open
	if err := command.Start(); err != nil {
		t.Fatalf("start %v: %v", command.Args, err)
	}
	go func() {
		command.Wait()
		p.Log.end()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v printed:\n%s", command.Args, p.Log)
		}
	})
	return p
}

// kill ends the process and its children.
func (p *Process) kill() {
	if p.running() {
		p.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
	}
	syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
	<-p.done
}

func (p *Process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *Process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatalf("%v to %v: %v", s, p.Args, err)
	}
}

// exit waits for the end and returns the status, -1 after a signal.
func (p *Process) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("%v still runs after %v", p.Args, patience)
	}
	return p.ProcessState.ExitCode()
}
