package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestStandardOutput has records, and nothing else, on standard output, and ends when nobody reads it.
func TestStandardOutput(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	command := exec.Command(prepared(t).binary, "--pid", strconv.Itoa(s.PID))
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, command)
	p.Log.wait(t, `"message":"ready"`, 1)
	reader := bufio.NewReader(out)
	for range 3 {
		id := s.get(t, "/").ID
		line, err := reader.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if r := parseRecords(t, line)[0]; r.Apitrace.TraceID != id {
			t.Errorf("%s", r.raw)
		}
	}
	said := strings.Count(p.Log.String(), "\n")
	out.Close()
	s.get(t, "/")
	if status := p.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	if lines := strings.Count(p.Log.String(), "\n") - said; lines != 1 {
		t.Errorf("says %d lines about it, not one", lines)
	}
}

// TestDiagnosticsUnread has nobody read standard error any more, which is no reason to stop recording.
func TestDiagnosticsUnread(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	path := filepath.Join(t.TempDir(), "records.jsonl")
	line := []string{"-c", `"$@" 2>&1 | head -n 1`, "sh", prepared(t).binary, "--pid", strconv.Itoa(s.PID), "--log-file", path}
	a := &Agent{Process: startProcess(t, exec.Command("sh", line...)), path: path}
	eventually(t, "a record", func() bool {
		s.get(t, "/")
		_, err := os.Stat(path)
		return err == nil && len(a.records(t)) > 0
	})
}

// TestReaderStalls has nobody read standard output, and the agent end all the same, with its sum as the last word.
func TestReaderStalls(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	command := exec.Command(prepared(t).binary, "--pid", strconv.Itoa(s.PID))
	if _, err := command.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	a := &Agent{Process: startProcess(t, command)}
	a.ready(t)
	const requests = 200
	for range requests {
		s.get(t, "/")
	}
	a.signal(t, syscall.SIGINT)
	if status := a.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	if sum := a.summary(t); sum.Records >= requests || sum.Records+sum.Late != requests {
		t.Errorf("%d records are written and %d late, of %d", sum.Records, sum.Late, requests)
	}
}

// TestSharedLogFile has two agents append to one file.
func TestSharedLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	if err := os.WriteFile(path, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const n = 200
	var agents []*Agent
	var services []*Service
	for range 2 {
		s := gunicorn(t, anyPython(t), "app")
		a := startAgent(t, path, "--pid", strconv.Itoa(s.PID), "--log-file", path, "--mapper", "tree")
		a.ready(t)
		a.read = int64(len("{}\n"))
		services, agents = append(services, s), append(agents, a)
	}
	var clients sync.WaitGroup
	for _, s := range services {
		clients.Go(func() {
			for range n {
				s.get(t, "/stream/5")
			}
		})
	}
	clients.Wait()
	agents[0].await(t, 2*n)
	agents[1].stop(t)
	byID(t, agents[0].exactly(t, 2*n))
	for _, a := range agents {
		if told := a.summary(t); told.Records != n {
			t.Errorf("%d records are told, want %d", told.Records, n)
		}
	}
}

// TestReopen moves the log file away, as log rotation does.
func TestReopen(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	a := attach(t, s.PID)
	s.get(t, "/before")
	a.await(t, 1)
	old := a.path + ".1"
	if err := os.Rename(a.path, old); err != nil {
		t.Fatal(err)
	}
	s.get(t, "/between")
	eventually(t, "the old file has two records", func() bool { return lines(t, old) == 2 })
	a.signal(t, syscall.SIGHUP)
	eventually(t, "there is a new file", func() bool {
		_, err := os.Stat(a.path)
		return err == nil
	})
	s.get(t, "/after")
	a.read, a.seen = 0, nil
	if r := a.exactly(t, 1)[0]; r.Endpoint != "/after" {
		t.Errorf("%s", r)
	}
	if n := lines(t, old); n != 2 {
		t.Errorf("the old file has %d records, want 2", n)
	}
}

func lines(t testing.TB, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// TestFullDisk drops what finds no room, in whole lines, and counts it; the service does not notice.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := gunicorn(t, anyPython(t), "app")
	path := filepath.Join(dir, "records.jsonl")
	a := startAgent(t, path, "--pid", strconv.Itoa(s.PID), "--log-file", path)
	a.ready(t)
	const n = 200
	for range n {
		s.get(t, "/nap/1")
	}
	a.Log.wait(t, "no space left|no room", 1)
	records := a.stop(t)
	told := a.summary(t)
	if told.Records != len(records) || told.WriteFailed == 0 || told.Records+told.WriteFailed != n {
		t.Errorf("%d records in the file of %d requests, and the agent says: %+v", len(records), n, told)
	}
}

// TestFullDevice has no room at all.
func TestFullDevice(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	a := startAgent(t, "/dev/full", "--pid", strconv.Itoa(s.PID), "--log-file", "/dev/full")
	a.ready(t)
	const n = 10
	for range n {
		s.get(t, "/")
	}
	a.Log.wait(t, "no space left", 1)
	a.signal(t, syscall.SIGINT)
	if status := a.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	if told := a.summary(t); told.Records != 0 || told.WriteFailed != n {
		t.Errorf("of %d requests the agent says: %+v", n, told)
	}
}

// TestLimits stops after so many records or so long.
func TestLimits(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app")
	a := attach(t, s.PID, "--count", "3")
	for i := range 5 {
		s.get(t, fmt.Sprint("/", i))
	}
	if status := a.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	for i, r := range a.records(t) {
		if r.Endpoint != fmt.Sprint("/", i) || i > 2 {
			t.Errorf("record %d is %s", i, r)
		}
	}
	b := attach(t, s.PID, "--duration", "0.5")
	if status := b.exit(t); status != 0 {
		t.Errorf("ends with status %d", status)
	}
	recorded := b.said(t, "stopped").Sub(b.said(t, "ready"))
	if sum := b.summary(t); sum.Why != "the time is over" || recorded < 500*time.Millisecond {
		t.Errorf("ends since %s, after %v", sum.Why, recorded)
	}
}
