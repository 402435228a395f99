package emit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests below need writers in other processes: this test binary again, told by an environment variable what to do.
const roleVariable = "EMIT_TEST_ROLE"

func TestMain(m *testing.M) {
	role, path, _ := strings.Cut(os.Getenv(roleVariable), " ")
	var err error
	switch role {
	case "":
		os.Exit(m.Run())
	case "append":
		err = appendMany(path)
	case "limited":
		err = appendLimited(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func inRole(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role+" "+path)
	cmd.Stderr = os.Stderr
	return cmd
}

const manyRecords = 2000

// testLine makes lines of many lengths that tell whether they are whole.
func testLine(i int) []byte {
	return fmt.Appendf(nil, "{\"pid\":%d,\"i\":%d,\"fill\":%q}\n", os.Getpid(), i, strings.Repeat("x", i*37%3000))
}

func appendMany(path string) error {
	l, err := OpenLog(LogOptions{Path: path})
	if err != nil {
		return err
	}
	for i := range manyRecords {
		l.append(testLine(i))
	}
	return l.Close(context.Background())
}

// appendLimited writes under a limit of the file's size until nothing more fits, then without it.
func appendLimited(path string) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	most := limit.Cur
	limit.Cur = 10_000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	l, err := OpenLog(LogOptions{Path: path})
	if err != nil {
		return err
	}
	for i := range 100 {
		l.append(testLine(i))
	}
	if err := l.Close(context.Background()); err != nil {
		return err
	}
	stats := l.Stats()
	limit.Cur = most
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if l, err = OpenLog(LogOptions{Path: path}); err != nil {
		return err
	}
	l.append(testLine(100))
	if err := l.Close(context.Background()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(stats)
}

// wholeLines checks that a file has nothing but whole test lines and counts them by writer.
func wholeLines(t *testing.T, path string) map[int]int {
	t.Helper()
	counts := map[int]int{}
	content := read(t, path)
	if !strings.HasSuffix(content, "\n") {
		t.Errorf("file ends with %q", content[max(0, len(content)-20):])
	}
	for line := range strings.Lines(content) {
		var got struct{ PID, I int }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v: %.80q", err, line)
		}
		counts[got.PID]++
	}
	return counts
}

func TestProcessesShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	writers := []*exec.Cmd{inRole(t, "append", path), inRole(t, "append", path)}
	for _, w := range writers {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range writers {
		if err := w.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	counts := wholeLines(t, path)
	for _, w := range writers {
		if got := counts[w.Process.Pid]; got != manyRecords {
			t.Errorf("a writer has %d records in the file, want %d", got, manyRecords)
		}
	}
}

func TestShortWritesLeaveWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	out, err := inRole(t, "limited", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var stats LogStats
	if err := json.Unmarshal(out, &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Failed == 0 || stats.Written == 0 || stats.Written+stats.Failed != 100 {
		t.Errorf("counted %+v", stats)
	}
	lines := 0
	for _, n := range wholeLines(t, path) {
		lines += n
	}
	if lines != int(stats.Written)+1 {
		t.Errorf("%d lines after %d records and one more", lines, stats.Written)
	}
}

func TestOpenEndsALineThatWasCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	if err := os.WriteFile(path, []byte("whole\ncut"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := openFile(t, path)
	l.append([]byte("next\n"))
	closeLog(t, l)
	if got := read(t, path); got != "whole\ncut\nnext\n" {
		t.Errorf("file has %q", got)
	}
}

func TestTakeBack(t *testing.T) {
	for _, flags := range []int{os.O_APPEND, 0} {
		path := filepath.Join(t.TempDir(), "records.jsonl")
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		dest, err := newDestination(int(f.Fd()), "file")
		if err != nil {
			t.Fatal(err)
		}
		writeOnce(dest.fd, []byte("whole\ncut"))
		if !takeBack(dest.fd, 3) {
			t.Error("a cut line was not taken back")
		}
		dest.write([]byte("next\n"))
		if got := read(t, path); got != "whole\nnext\n" {
			t.Errorf("file has %q", got)
		}

		writeOnce(dest.fd, []byte("cut"))
		appendTo(t, path, "another's\n")
		if takeBack(dest.fd, 3) {
			t.Error("another's line was taken back")
		}
		dest.torn = true
		if flags == os.O_APPEND {
			dest.write([]byte("next\n"))
			if got := read(t, path); got != "whole\nnext\ncutanother's\n\nnext\n" {
				t.Errorf("file has %q", got)
			}
		}
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestLockHeldByAnotherHoldsUpNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	l := openFile(t, path)
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Skip(err)
	}
	l.append([]byte("written\n"))
	closeLog(t, l)
	if got := read(t, path); got != "written\n" {
		t.Errorf("file has %q", got)
	}
}

func TestStreamEndsALineThatWasCut(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dest, err := newDestination(int(w.Fd()), "pipe")
	if err != nil {
		t.Fatal(err)
	}
	dest.torn = true
	if n, err := dest.write([]byte("next\n")); n != 5 || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	w.Close()
	var got bytes.Buffer
	if _, err := got.ReadFrom(r); err != nil {
		t.Fatal(err)
	}
	if got.String() != "\nnext\n" {
		t.Errorf("read %q", got.String())
	}
}
