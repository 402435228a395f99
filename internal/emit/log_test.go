package emit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// closeLog gives the writer all the time that a test has.
func closeLog(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func openFile(t *testing.T, path string) *Log {
	t.Helper()
	l, err := OpenLog(LogOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// overPipe returns a log that writes to a pipe as if it were standard output, and the other end.
func overPipe(t *testing.T, opt LogOptions) (*Log, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	dest, err := newDestination(int(w.Fd()), "pipe")
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(dest, opt)
	go l.write()
	return l, r
}

// append queues a line and has it written.
func (l *Log) append(line []byte) bool {
	taken := l.Queue(func(dst []byte) []byte { return append(dst, line...) })
	l.Flush()
	return taken
}

func TestLogAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	for _, line := range []string{"one\n", "two\n"} {
		l := openFile(t, path)
		if !l.append([]byte(line)) {
			t.Errorf("%q was not taken", line)
		}
		closeLog(t, l)
		if l.append([]byte("late\n")) {
			t.Error("a closed log took a record")
		}
		if got := l.Stats(); got != (LogStats{Written: 1, Late: 1}) {
			t.Errorf("counted %+v", got)
		}
	}
	if got := read(t, path); got != "one\ntwo\n" {
		t.Errorf("file has %q", got)
	}
	if st, _ := os.Stat(path); st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("file has mode %v", st.Mode())
	}
}

func TestLogOpenErrors(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ path, want string }{
		{filepath.Join(dir, "none", "log"), "no such file or directory: create its directory"},
		{dir, "is a directory: give another --log-file"},
		{filepath.Join(dir, "a\x00b"), "invalid argument"},
	}
	for _, tt := range tests {
		_, err := OpenLog(LogOptions{Path: tt.path})
		if err == nil || !strings.Contains(err.Error(), "open log file "+tt.path+": ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q gives %v", tt.path, err)
		}
	}
	if _, err := newDestination(-1, "closed"); !errors.Is(err, unix.EBADF) {
		t.Errorf("a closed descriptor gives %v", err)
	}
}

func TestLogReopens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	l := openFile(t, path)
	l.append([]byte("old\n"))
	closeLog(t, l)

	l = openFile(t, path)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	l.append([]byte("new\n"))
	closeLog(t, l)
	if got := read(t, path+".1") + read(t, path); got != "old\nnew\n" {
		t.Errorf("files have %q", got)
	}
}

func TestLogKeepsItsFileWhenItCannotReopen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "records.jsonl")
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	reports := make(chan error, 1)
	l, err := OpenLog(LogOptions{Path: path, Report: func(err error) { reports <- err }})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Dir(path), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	l.append([]byte("kept\n"))
	closeLog(t, l)
	if err := <-reports; !strings.Contains(err.Error(), "reopen: open log file "+path) {
		t.Errorf("reported %v", err)
	}
	if got := read(t, filepath.Join(dir, "moved", "records.jsonl")); got != "kept\n" {
		t.Errorf("file has %q", got)
	}
}

func TestLogDropsWholeRecordsWhenTheReaderIsSlow(t *testing.T) {
	l, r := overPipe(t, LogOptions{Limit: 100_000})
	line := []byte(strings.Repeat("x", 999) + "\n")
	taken := 0
	for range 1000 {
		if l.append(line) {
			taken++
		}
	}
	all := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, int64(taken*len(line))))
		all <- b
	}()
	closeLog(t, l)
	if got := <-all; !bytes.Equal(got, bytes.Repeat(line, taken)) {
		t.Errorf("read %d bytes that are not the %d records taken", len(got), taken)
	}
	want := LogStats{Written: uint64(taken), Full: uint64(1000 - taken)}
	if got := l.Stats(); got != want || got.Full == 0 {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestLogCloseDoesNotWaitForAStuckReader(t *testing.T) {
	l, r := overPipe(t, LogOptions{})
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 200 {
		l.append(line)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// The writer may have finished nothing or some pieces, but 64 KiB of pipe cannot take 200 KB.
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("closed with %v", err)
	}
	got := l.Stats()
	if got.Late == 0 || got.Written+got.Dropped() != 200 {
		t.Errorf("counted %+v", got)
	}
	r.Close()
	<-l.done
	if l.Stats() != got {
		t.Errorf("counts changed to %+v after the log was closed", l.Stats())
	}
}

func TestLogTellsThatTheReaderHasGone(t *testing.T) {
	l, r := overPipe(t, LogOptions{})
	r.Close()
	<-l.Broken()
	if l.append([]byte("nobody\n")) {
		t.Error("a record was taken for nobody")
	}
	closeLog(t, l)
	if got := l.Stats(); got != (LogStats{Failed: 1}) {
		t.Errorf("counted %+v", got)
	}
}

func TestLogTellsThatTheReaderWentInTheMidst(t *testing.T) {
	l, r := overPipe(t, LogOptions{})
	line := []byte(strings.Repeat("x", 99_999) + "\n")
	for range 5 {
		l.append(line)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	<-l.Broken()
	closeLog(t, l)
	if got := l.Stats(); got.Failed == 0 || got.Written+got.Failed != 5 {
		t.Errorf("counted %+v", got)
	}
}

func TestLogOutlastsTheReadersOfANamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(LogOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"first\n", "second\n"} {
		if !l.append([]byte(line)) {
			t.Error("a record was refused between two readers")
		}
		l.Flush()
		r, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(line))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != line {
			t.Errorf("read %q, %v, want %q", got, err, line)
		}
		r.Close()
	}
	closeLog(t, l)
	if got := l.Stats(); got != (LogStats{Written: 2}) {
		t.Errorf("counted %+v", got)
	}
}

func TestLogWritesToAPipeThatDoesNotBlock(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	dest, err := newDestination(int(w.Fd()), "pipe")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(dest.fd, true); err != nil {
		t.Fatal(err)
	}
	lines := bytes.Repeat([]byte(strings.Repeat("x", 999)+"\n"), 500)
	all := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(r, int64(len(lines))))
		all <- b
	}()
	if n, err := dest.write(lines); n != len(lines) || err != nil {
		t.Errorf("wrote %d: %v", n, err)
	}
	if !bytes.Equal(<-all, lines) {
		t.Error("something else was read")
	}
}

func TestLogGoesOnWhenTheDiskIsFull(t *testing.T) {
	dest, err := openDestination("/dev/full")
	if err != nil {
		t.Skip(err)
	}
	reports := make(chan error, 10)
	l := newLog(dest, LogOptions{Report: func(err error) { reports <- err }})
	var clock time.Time
	l.now = func() time.Time { return clock.Add(time.Hour) }
	for range 3 {
		l.writePieceOf(1)
	}
	clock = clock.Add(reportEvery)
	l.writePieceOf(2)
	go l.write()
	closeLog(t, l)
	close(reports)
	var got []string
	for err := range reports {
		got = append(got, err.Error())
	}
	want := []string{
		"dropped 1 records: write to /dev/full: no space left on device",
		"dropped 4 records: write to /dev/full: no space left on device",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("reported %q", got)
	}
	if got := l.Stats(); got != (LogStats{Failed: 5}) {
		t.Errorf("counted %+v", got)
	}
}

// writePieceOf does the writer's work for so many records, on the caller's goroutine.
func (l *Log) writePieceOf(records int) {
	for range records {
		l.append([]byte("x\n"))
	}
	batch, _, _ := l.take(nil)
	for _, piece := range batch {
		l.writePiece(piece)
	}
}

func TestLogPiecesEndWithALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	dest, err := openDestination(path)
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(dest, LogOptions{})
	var want strings.Builder
	for i := range 100 {
		line := strings.Repeat(string(rune('a'+i%26)), i*i*i%(3*flushAt)) + "\n"
		want.WriteString(line)
		if !l.Queue(func(dst []byte) []byte { return append(dst, line...) }) {
			t.Fatalf("line %d was not taken", i)
		}
	}
	for _, piece := range l.pending {
		if len(piece) == 0 || piece[len(piece)-1] != '\n' {
			t.Errorf("a piece of %d bytes does not end with a line", len(piece))
		}
	}
	go l.write()
	closeLog(t, l)
	if got, _ := os.ReadFile(path); string(got) != want.String() {
		t.Errorf("wrote %d bytes, want %d", len(got), want.Len())
	}
}

func TestLogQueueDoesNotAllocate(t *testing.T) {
	dest, err := openDestination("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	l := newLog(dest, LogOptions{})
	line := []byte("a record\n")
	l.append(line)
	if n := testing.AllocsPerRun(100, func() { l.append(line) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
	go l.write()
	closeLog(t, l)
}
