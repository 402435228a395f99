package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Agent is a running agent with a log file.
type Agent struct {
	*Process
	path string
	read int64 // bytes of the log file that were taken already
	seen []*Record
}

// attach starts an agent beside a process and waits until it records.
func attach(t testing.TB, pid int, flags ...string) *Agent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "records.jsonl")
	a := startAgent(t, path, append([]string{"--pid", strconv.Itoa(pid), "--log-file", path}, flags...)...)
	a.ready(t)
	return a
}

func startAgent(t testing.TB, path string, args ...string) *Agent {
	t.Helper()
	return &Agent{Process: startProcess(t, exec.Command(prepared(t).binary, args...)), path: path}
}

func (a *Agent) ready(t testing.TB) {
	t.Helper()
	a.Log.wait(t, `"message":"ready"`, 1)
}

// records gives all records so far.
func (a *Agent) records(t testing.TB) []*Record {
	t.Helper()
	file, err := os.Open(a.path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, info.Size()-a.read)
	if _, err := file.ReadAt(text, a.read); err != nil && len(text) > 0 {
		t.Fatal(err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	a.read += int64(len(text))
	a.seen = append(a.seen, parseRecords(t, text)...)
	return a.seen
}

// await waits until there are n records and returns them.
func (a *Agent) await(t testing.TB, n int) []*Record {
	t.Helper()
	eventually(t, strconv.Itoa(n)+" records", func() bool { return len(a.records(t)) >= n })
	return a.seen
}

// stop ends the agent and returns all its records.
func (a *Agent) stop(t testing.TB) []*Record {
	t.Helper()
	a.signal(t, syscall.SIGINT)
	if status := a.exit(t); status != 0 {
		t.Fatalf("the agent ended with status %d:\n%s", status, a.Log)
	}
	return a.records(t)
}

// exactly waits for n records, ends the agent and fails if there are more.
func (a *Agent) exactly(t testing.TB, n int) []*Record {
	t.Helper()
	a.await(t, n)
	records := a.stop(t)
	if len(records) != n {
		t.Fatalf("%d records, want %d:\n%s", len(records), n, summaries(records))
	}
	return records
}

// said tells when the agent said something.
func (a *Agent) said(t testing.TB, message string) time.Time {
	t.Helper()
	text := a.Log.wait(t, `"time":"([^"]+)","message":"`+message, 1)[0]
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// summary is the last thing that the agent says.
type summary struct {
	Message     string            `json:"message"`
	Why         string            `json:"why"`
	Records     int               `json:"records"`
	QueueFull   int               `json:"dropped_queue_full"`
	WriteFailed int               `json:"dropped_write_failed"`
	Late        int               `json:"dropped_late"`
	LostEvents  map[string]uint64 `json:"lost_events"`
}

func (a *Agent) summary(t testing.TB) (s summary) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(a.Log.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || s.Message != "stopped" {
		t.Fatalf("the last line does not sum up: %q", lines[len(lines)-1])
	}
	return s
}

// Outcome is what became of an agent that was run to its end.
type Outcome struct {
	Status         int
	Stdout, Stderr string
}

// runAgent runs a command line to its end; before is a program that starts it, with arguments.
func runAgent(t testing.TB, environment []string, before []string, args ...string) Outcome {
	t.Helper()
	line := append(append(before, prepared(t).binary), args...)
	command := exec.Command(line[0], line[1:]...)
	command.Env = append(os.Environ(), environment...)
	var stdout bytes.Buffer
	command.Stdout = &stdout
	p := startProcess(t, command)
	return Outcome{Status: p.exit(t), Stdout: stdout.String(), Stderr: p.Log.String()}
}
