package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestMasterAndWorker names one, the other or both.
func TestMasterAndWorker(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	pid := s.workers(t, 1)[0]
	for _, flags := range [][]string{
		{"--pid", strconv.Itoa(s.PID)},
		{"--pid", strconv.Itoa(pid)},
		{"--pid", fmt.Sprintf("%d,%d", s.PID, pid)},
		{"--pid", strconv.Itoa(pid), "--pid", strconv.Itoa(s.PID)},
	} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			first, _ := strconv.Atoi(strings.Split(flags[1], ",")[0])
			a := attach(t, first, flags...)
			s.get(t, "/")
			if r := a.exactly(t, 1)[0]; r.Request.PID != pid {
				t.Errorf("served by %d, want %d", r.Request.PID, pid)
			}
			announced := regexp.MustCompile(fmt.Sprintf(`"pid":%d,"runtime":"cpython 3\.%d\.\d+"`, pid, s.python.Minor))
			if n := len(announced.FindAllString(a.Log.String(), -1)); n != 1 {
				t.Errorf("announces the worker %d times", n)
			}
		})
	}
}

// TestStarter names a shell that has started the service.
func TestStarter(t *testing.T) {
	python := anyPython(t)
	command := exec.Command("sh", "-c", `"$@"; exit`, "sh", python.Path, "-u", "plain.py", "127.0.0.1")
	command.Dir = testdata(t)
	s := &Service{Process: startProcess(t, command), python: python}
	s.Address = "127.0.0.1:" + s.Log.wait(t, `Listening at: (\d+)`, 1)[0]
	a := attach(t, s.Process.Process.Pid)
	s.get(t, "/")
	if r := a.exactly(t, 1)[0]; r.Request.PID == s.Process.Process.Pid || r.Endpoint != "/" {
		t.Errorf("%s", r.raw)
	}
}

// TestLaterWorkers has gunicorn start workers after the agent: one more, all anew, and one for a killed one.
func TestLaterWorkers(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	a := attach(t, s.PID)
	asked := 0
	servedBy := func(pid int) {
		t.Helper()
		eventually(t, fmt.Sprint("a request served by ", pid), func() bool {
			answer := s.get(t, "/nap/5")
			asked++
			return byID(t, a.await(t, asked))[answer.ID].Request.PID == pid
		})
	}
	servedBy(s.workers(t, 1)[0])
	s.signal(t, syscall.SIGTTIN)
	second := s.workers(t, 2)[1]
	servedBy(second)
	s.signal(t, syscall.SIGHUP)
	third := s.workers(t, 3)[2]
	servedBy(third)
	if err := syscall.Kill(third, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	servedBy(s.workers(t, 4)[3])
	for _, r := range a.exactly(t, asked) {
		tree := r.tree(t)
		if tree.under("nap", "[sleep]")+tree.under("nap", "[runqueue]") < 0.004 { // workers that start take the CPUs
			t.Errorf("%s:\n%s", r, tree)
		}
	}
}

// TestWorkerKilled kills a worker in the midst of a request whose functions are known from one before.
func TestWorkerKilled(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		s := gunicorn(t, anyPython(t), "app", w.flags...)
		a := attach(t, s.PID)
		gate := newGate(t)
		c := dial(t, s.Address)
		_, open := gate.held(c, "/hold", "Connection: close\r\n")
		open()
		c.answer(t, "GET")
		a.await(t, 1)
		id, _ := gate.held(dial(t, s.Address), "/hold", "")
		if err := syscall.Kill(s.workers(t, 1)[0], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.workers(t, 2)
		s.get(t, "/")
		records := a.exactly(t, 3)
		checkSums(t, records...)
		r := byID(t, records)[id]
		if r == nil || !r.incomplete("target_exited") || !r.incomplete("no_response") || r.Request.Status != 0 {
			t.Fatalf("the killed worker's request is told as %s", r)
		}
		if r.tree(t).find("hold") == nil {
			t.Errorf("its tree lacks the view:\n%s", r.tree(t))
		}
	})
}

// TestAttachUnderLoad has agents come and go while requests are answered.
func TestAttachUnderLoad(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app", "-k", "gthread", "--threads", "4", "-w", "2")
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if answer := s.get(t, "/nap/1"); answer.Text != "awake" {
					t.Errorf("%s: %q", answer.Status, answer.Text)
				}
			}
		})
	}
	for range 3 {
		a := attach(t, s.PID)
		a.await(t, 50)
		a.stop(t)
		byID(t, a.seen)
		for _, r := range a.seen {
			if r.Request.Status != 200 && !r.incomplete("agent_stopped") {
				t.Errorf("%s", r.raw)
			}
		}
	}
	close(done)
	clients.Wait()
}

// TestAttachAtOnce names a process that has just been executed and has no interpreter yet.
func TestAttachAtOnce(t *testing.T) {
	s := startService(t, anyPython(t), "-m", "gunicorn", "-b", "127.0.0.1:0", "app:app")
	a := attach(t, s.PID)
	s.Address = s.Log.wait(t, `Listening at: https?://(\S+)`, 1)[0]
	s.workers(t, 1)
	s.get(t, "/")
	checkSums(t, a.exactly(t, 1)...)
}

// TestShortLivedWorkers has each worker answer two requests: one that ended before the agent looked at it is told of as a
// child of its parent.
func TestShortLivedWorkers(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app", "-w", "2", "--max-requests", "2")
	a := attach(t, s.PID)
	const n = 30
	for range n {
		s.get(t, "/")
	}
	for _, r := range a.exactly(t, n) {
		checkSums(t, r)
		if r.ProcName != "app:app" || r.Request.Runtime == "" {
			t.Errorf("%s is told of %q, %q", r, r.ProcName, r.Request.Runtime)
		}
	}
}

// TestStop ends agents while a request is open.
func TestStop(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			a := attach(t, s.PID)
			gate := newGate(t)
			c := dial(t, s.Address)
			id, open := gate.held(c, "/hold", "")
			a.signal(t, sig)
			if status := a.exit(t); status != 0 {
				t.Errorf("ends with status %d", status)
			}
			open()
			if answer := c.answer(t, "GET"); answer.Text != "released" {
				t.Errorf("the service answers %q", answer.Text)
			}
			records := a.records(t)
			if len(records) != 1 || records[0].Apitrace.TraceID != id || !records[0].incomplete("agent_stopped") {
				t.Fatalf("the open request is told as\n%s", summaries(records))
			}
			checkSums(t, records...)
			if view := records[0].tree(t).find("hold"); view == nil {
				t.Errorf("its tree lacks the view:\n%s", records[0].tree(t))
			}
			if told := a.summary(t); told.Records != 1 || told.LostEvents == nil {
				t.Errorf("sums up as %+v", told)
			}
		})
	}
}

// TestStopBeforeStart ends an agent that still waits for somebody to read what its log file leads to.
func TestStopBeforeStart(t *testing.T) {
	dir := t.TempDir()
	fifo, name := filepath.Join(dir, "fifo"), filepath.Join(dir, "log")
	if err := errors.Join(syscall.Mkfifo(fifo, 0o600), os.Symlink(fifo, name)); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, name, "--pid", strconv.Itoa(os.Getpid()), "--log-file", name)
	eventually(t, "the agent waits", func() bool { return a.isIn(t, syscall.SYS_OPENAT) })
	a.signal(t, syscall.SIGTERM)
	if status := a.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	if sum := a.summary(t); sum.Why != "told to" {
		t.Errorf("sums up as %+v", sum)
	}
}

// isIn tells whether a thread of the process is in a system call.
func (p *Process) isIn(t testing.TB, number int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(threads, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.HasPrefix(string(text), strconv.Itoa(number)+" ")
	})
}

// programs counts the BPF programs of this machine.
func programs(t testing.TB) int {
	t.Helper()
	out, err := exec.Command("bpftool", "prog", "show").Output()
	if err != nil {
		t.Skip("no bpftool here: ", err)
	}
	return len(regexp.MustCompile(`(?m)^\d+: `).FindAll(out, -1))
}

// TestAgentKilled leaves the kernel as it was.
func TestAgentKilled(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	before := programs(t)
	a := attach(t, s.PID)
	if programs(t) <= before {
		t.Error("the agent has no programs")
	}
	gate := newGate(t)
	c := dial(t, s.Address)
	_, open := gate.held(c, "/hold", "")
	a.signal(t, syscall.SIGKILL)
	a.exit(t)
	open()
	if answer := c.answer(t, "GET"); answer.Text != "released" {
		t.Errorf("the service answers %q", answer.Text)
	}
	eventually(t, "no programs are left", func() bool { return programs(t) <= before })
	s.get(t, "/")
	b := attach(t, s.PID)
	s.get(t, "/")
	b.exactly(t, 1)
}

// TestTargetExits has the agent outlive its only target.
func TestTargetExits(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	a := attach(t, s.PID)
	s.get(t, "/")
	s.signal(t, syscall.SIGTERM)
	s.exit(t)
	if status := a.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	if why := a.summary(t).Why; !strings.Contains(why, "exited") {
		t.Errorf("says %q", why)
	}
	if n := len(a.records(t)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

// blind has no event reach the agent while something happens: requests to another target leave no room for them.
func (a *Agent) blind(t *testing.T, other *Service, during func()) {
	t.Helper()
	a.signal(t, syscall.SIGSTOP)
	out, err := exec.Command("wrk", "-t", "1", "-c", "16", "-d", "2s", "http://"+other.Address+"/").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	during()
	a.signal(t, syscall.SIGCONT)
}

// TestExitLost has the last target end unseen.
func TestExitLost(t *testing.T) {
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("no wrk here")
	}
	s := goService(t, goBuilds[0])
	a := attach(t, s.PID)
	a.blind(t, s, s.kill)
	if status := a.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	told := a.summary(t)
	if !strings.Contains(told.Why, "exited") || told.LostEvents["processes"] == 0 {
		t.Errorf("says %+v", told)
	}
}

// TestProcessesLost has a worker start unseen, and a target become a server.
func TestProcessesLost(t *testing.T) {
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("no wrk here")
	}
	other := goService(t, goBuilds[0])
	s := gunicorn(t, anyPython(t), "app")
	first := s.workers(t, 1)[0]
	became, tell := startActor(t, "[sys.executable, 'plain.py', '127.0.0.1']")
	a := attach(t, s.PID, "--pid", strconv.Itoa(other.PID), "--pid", strconv.Itoa(became.Process.Process.Pid))
	a.blind(t, other, func() {
		s.signal(t, syscall.SIGTTIN)
		s.workers(t, 2)
		s.signal(t, syscall.SIGTTOU)
		eventually(t, "the first worker ends", func() bool { return syscall.Kill(first, 0) != nil })
		tell("become a server")
		became.Address = "127.0.0.1:" + became.Log.wait(t, `Listening at: (\d+)`, 1)[0]
	})
	for function, s := range map[string]*Service{"nap": s, "do_GET": became} {
		asked := map[string]bool{}
		eventually(t, "a record with "+function, func() bool {
			asked[s.get(t, "/nap/5").ID] = true
			return slices.ContainsFunc(a.records(t), func(r *Record) bool {
				return asked[r.Apitrace.TraceID] && r.tree(t).find(function) != nil
			})
		})
	}
	a.stop(t)
	if told := a.summary(t); told.LostEvents["processes"] == 0 {
		t.Errorf("nothing was lost: %+v", told)
	}
}

// startActor starts a Python that becomes another program, an expression of its command line, when it is told something.
func startActor(t *testing.T, program string) (s *Service, tell func(line string)) {
	t.Helper()
	python := anyPython(t)
	command := exec.Command(python.Path, "-c", `
import os, sys
print('ready', file=sys.stderr, flush=True)
sys.stdin.readline()
program = `+program+`
os.execv(program[0], program)`)
	command.Dir = testdata(t)
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s = &Service{Process: startProcess(t, command), python: python}
	s.Log.wait(t, "ready", 1)
	return s, func(line string) {
		t.Helper()
		if _, err := in.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExec has a target become another program, which becomes a server.
func TestExec(t *testing.T) {
	s, tell := startActor(t, `['/bin/sh', '-c', 'read line; exec "$0" plain.py 127.0.0.1', sys.executable]`)
	a := attach(t, s.Process.Process.Pid)
	tell("become a shell")
	eventually(t, "it is a shell", func() bool {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.Process.Process.Pid))
		return !strings.Contains(exe, "python")
	})
	tell("become a server")
	s.Address = "127.0.0.1:" + s.Log.wait(t, `Listening at: (\d+)`, 1)[0]
	eventually(t, "the server is recognised", func() bool {
		s.get(t, "/after")
		return len(a.records(t)) > 0
	})
	records := a.stop(t)
	if r := records[len(records)-1]; r.Endpoint != "/after" || r.ProcName != "plain.py" || !strings.HasPrefix(r.Request.Runtime, "cpython ") {
		t.Errorf("%s", r.raw)
	}
}
