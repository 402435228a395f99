package e2e

import (
	"strings"
	"testing"
)

// TestLateExecutor has a server hand requests to its threads by a queue, for so long that this is not looked at any more,
// before a request hands work on to an executor for the first time.
func TestLateExecutor(t *testing.T) {
	v := server{pip: "gunicorn", args: "BIN/gunicorn -b 127.0.0.1:PORT -k gthread --threads 16 late_pool:app"}
	prepared(t)
	python := venv(t, v.interpreter(t))
	install(t, python, v.pip)
	s := v.start(t, python)
	a := attach(t, s.PID, "-F", "1000", "--log-level", "debug")
	c := s.dial(t)
	defer c.Close()
	asked := 0
	eventually(t, "queues not to be looked at", func() bool {
		for range 100 {
			c.do(t, "GET", "/", "", "")
		}
		asked += 100
		a.await(t, asked)
		return strings.Contains(a.Log.String(), "queues are not looked at")
	})
	t.Run("at first", func(t *testing.T) { v.check(t, s, a, "/executor?") })
	t.Run("later", func(t *testing.T) { v.check(t, s, a, "/executor") })
}

// TestConnectionPool has requests take connections from a pool, which keeps them in a queue like Python's own: who has put one
// back gives no work to who takes it.
func TestConnectionPool(t *testing.T) {
	v := server{
		pip:  "fastapi uvicorn h11 sqlalchemy",
		args: "BIN/uvicorn --port PORT --loop asyncio --http h11 --log-level warning fast:app",
	}
	prepared(t)
	python := venv(t, v.interpreter(t))
	install(t, python, v.pip)
	s := v.start(t, python)
	a := attach(t, s.PID, "-F", "1000")
	v.check(t, s, a, "/def/lent?")
	for range 8 {
		v.check(t, s, a, "/def/lent")
	}
}
