package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// answers starts a server that answers by every call that writes.
func answers(t testing.TB) *Service {
	t.Helper()
	s := startService(t, anyPython(t), "answers.py", "127.0.0.1")
	s.Address = net.JoinHostPort("127.0.0.1", s.Log.wait(t, `Listening at: (\d+)`, 1)[0])
	return s
}

// TestAnswers has a server write answers in every way on one connection that stays open: each is told as soon as it is
// complete.
func TestAnswers(t *testing.T) {
	s := answers(t)
	a := attach(t, s.PID)
	c := dial(t, s.Address)
	for i, way := range []string{"long_head", "sendfile", "sendmsg", "writev", "splice", "trailers"} {
		if way == "splice" && s.python.Minor < 10 {
			continue
		}
		answer := c.do(t, "GET", "/"+way, "", "")
		if len(answer.Text) != 100000 {
			t.Fatalf("%s: %d bytes", way, len(answer.Text))
		}
		r := a.await(t, i+1)[i]
		if r.Endpoint != "/"+way || r.Request.Status != 200 || len(r.Request.Incomplete) > 0 || r.Request.BytesOut <= 100000 {
			t.Errorf("%s is told as %s, %d bytes", way, r, r.Request.BytesOut)
		}
	}
}

// TestUpgrade has a connection leave HTTP: it gives one record, and what passes then is no request.
func TestUpgrade(t *testing.T) {
	s := answers(t)
	a := attach(t, s.PID)
	c := dial(t, s.Address)
	head, _ := c.head("GET", "/upgrade", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
	c.send(t, head)
	switched, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	switched.Body.Close()
	if r := a.await(t, 1)[0]; r.Request.Status != 101 || !r.incomplete("upgraded") {
		t.Errorf("told as %s", r)
	}
	const frame = "GET /frame HTTP/1.1\r\nHost: h\r\n\r\n"
	for range 3 {
		c.send(t, frame)
		if _, err := io.ReadFull(c.reader, make([]byte, len(frame))); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	a.exactly(t, 1)
}

// TestSlowReader has a client take its time: the wait is the writer's, also where signals interrupt it.
func TestSlowReader(t *testing.T) {
	s := answers(t)
	a := attach(t, s.PID)
	c := dial(t, s.Address)
	head, _ := c.head("GET", "/slow", "")
	c.send(t, head)
	waited := s.sends(t, "")
	for range 3 { // the first ends a call that has sent some, the others end one that has sent nothing
		tid, err := strconv.Atoi(filepath.Base(filepath.Dir(waited.file)))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Tgkill(s.PID, tid, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		waited = s.sends(t, waited.switches)
	}
	c.reader = bufio.NewReaderSize(c.Conn, 1<<20)
	if answer := c.answer(t, "GET"); len(answer.Text) != 10_000_000 {
		t.Fatalf("%d bytes", len(answer.Text))
	}
	r := a.exactly(t, 1)[0]
	if tree := r.tree(t); tree.under("slow", "[socket send]") <= 0 || r.Request.BytesOut <= 10_000_000 || len(r.Request.Incomplete) > 0 {
		t.Errorf("told as %s\n%s", r, tree)
	}
}

// sender is the status of a thread that waits in sendto, and how often it had waited for anything by then.
type sender struct{ file, switches string }

// sends waits until a thread of the service waits in sendto that has waited again since.
func (s *Service) sends(t *testing.T, since string) (found sender) {
	t.Helper()
	eventually(t, "the server to wait", func() bool {
		calls, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", s.PID))
		for _, path := range calls {
			if text, _ := os.ReadFile(path); !bytes.HasPrefix(text, fmt.Appendf(nil, "%d ", unix.SYS_SENDTO)) {
				continue
			}
			found.file = filepath.Join(filepath.Dir(path), "status")
			text, _ := os.ReadFile(found.file)
			_, rest, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
			found.switches, _, _ = strings.Cut(rest, "\n")
			return found.switches != since
		}
		return false
	})
	return found
}
