package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"apm-ebpf/internal/target/targettest"
)

// goBuild is a way in which Go services are built.
type goBuild struct {
	name        string
	flags       string // of go build
	environment []string
}

var goBuilds = []goBuild{
	{name: "plain", environment: []string{"CGO_ENABLED=0"}},
	{name: "stripped", flags: "-ldflags=-s -w", environment: []string{"CGO_ENABLED=0"}},
	{name: "pie", flags: "-buildmode=pie", environment: []string{"CGO_ENABLED=0"}},
	{name: "cgo", flags: "-ldflags=-linkmode=external", environment: []string{"CGO_ENABLED=1"}},
}

// goService builds testdata/goservice and starts it.
func goService(t testing.TB, build goBuild, args ...string) *Service {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "goservice")
	command := exec.Command("go", "build", "-o", binary)
	if build.flags != "" {
		command.Args = append(command.Args, build.flags)
	}
	command.Args = append(command.Args, ".")
	command.Dir = filepath.Join(testdata(t), "goservice")
	command.Env = append(append(os.Environ(), "GOFLAGS=-buildvcs=false"), build.environment...)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build the service: %v\n%s", err, out)
	}
	return startGo(t, binary, args...)
}

// startGo starts a Go service of testdata.
func startGo(t testing.TB, binary string, args ...string) *Service {
	t.Helper()
	s := &Service{Process: startProcess(t, exec.Command(binary, args...))}
	s.PID = s.Process.Process.Pid
	s.Address = s.Log.wait(t, `listening on (\S+)`, 1)[0]
	return s
}

func onEachGoBuild(t *testing.T, test func(t *testing.T, s *Service)) {
	prepared(t)
	for _, build := range goBuilds {
		t.Run(build.name, func(t *testing.T) { test(t, goService(t, build)) })
	}
}

// precise drops that goroutines were looked at less often, as happens on a busy machine.
func precise(r *Record) {
	r.Request.Incomplete = slices.DeleteFunc(r.Request.Incomplete, func(why string) bool { return why == "precision" })
}

// TestGoFunctionTimes compares trees with what the functions themselves measured.
func TestGoFunctionTimes(t *testing.T) {
	views := []string{"doze", "compute", "receive", "send", "choose", "acquire", "ask", "pipe", "fan", "several", "inline"}
	onEachGoBuild(t, func(t *testing.T, s *Service) {
		compareViews(t, s, attach(t, s.PID, "-F", "1000"), views)
	})
}

// TestGoDeepStack has a recursion whose middle cannot be kept, of a goroutine that runs and then waits.
func TestGoDeepStack(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[1])
	a := attach(t, s.PID, "-F", "1000")
	s.get(t, "/compute")
	answer := s.get(t, "/dive")
	r := a.exactly(t, 2)[1]
	checkSums(t, r)
	if !r.incomplete("stack_truncated") {
		t.Errorf("does not tell that the stack is truncated: %s", r)
	}
	tree := r.tree(t)
	var c comparison
	c.add("dive", tree.inclusive()["dive"], answer.Truth["dive"])
	for _, name := range []string{"compute", "doze"} {
		if tree.find(name) == nil {
			t.Errorf("no %s:\n%s", name, tree)
		}
	}
	tree.walk(func(f *Frame, above []*Frame) {
		if name := f.name(); (name == "compute" || name == "doze") && !slices.ContainsFunc(above, func(f *Frame) bool { return f.name() == "sink" }) {
			t.Errorf("%s is not told at the deep end:\n%s", name, tree)
		}
	})
	c.check(t)
}

// TestGoLentFramePointer has assembly use the frame pointer for something else: its frames are found once one was missed.
func TestGoLentFramePointer(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[2])
	a := attach(t, s.PID, "-F", "1000")
	const before = 4 // on a busy machine the first may be over before any stack is taken
	for i := range before {
		s.get(t, "/lend")
		a.await(t, i+1)
	}
	answer := s.get(t, "/lend")
	r := a.exactly(t, before+1)[before]
	precise(r)
	checkSums(t, r)
	var c comparison
	compareTimes(t, &c, r, answer.Truth)
	c.check(t)
	if f := r.tree(t).find("lend"); f == nil || f.find("countDown") == nil {
		t.Errorf("no countDown under lend:\n%s", r.tree(t))
	}
}

// TestGoReverseProxy has answers begun by another goroutine than the one that serves.
func TestGoReverseProxy(t *testing.T) {
	prepared(t)
	const requests = 20
	s := goService(t, goBuilds[1])
	a := attach(t, s.PID)
	for range requests {
		s.get(t, "/pass/doze")
	}
	told := 0
	for _, r := range a.exactly(t, 2*requests) {
		name, leaf := "doze", "[sleep]"
		if r.Endpoint != "/doze" {
			name, leaf = "pass", "[select]"
		}
		tree := r.tree(t)
		switch f := tree.find(name); {
		case f != nil && f.total(leaf) >= 0.02 && !r.incomplete("owner"):
			told++
		case !r.incomplete("precision"): // on a busy machine the agent may come late
			t.Errorf("%s\n%s", r, tree)
		}
	}
	if told < requests {
		t.Errorf("%d records of %d tell what handlers waited for", told, 2*requests)
	}
}

// TestGoCallback has C run, and call Go that waits, computes and calls C again. What it does stands under the handler, and none
// of it is told to wait that does not.
func TestGoCallback(t *testing.T) {
	prepared(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("what C has called is not joined to its caller here")
	}
	s := goService(t, goBuilds[3])
	a := attach(t, s.PID, "-F", "1000")
	var answers []*Answer
	for range 8 {
		answers = append(answers, s.get(t, "/callback"))
	}
	records := a.exactly(t, len(answers))
	checkSums(t, records...)
	var c comparison
	for i, r := range records {
		precise(r)
		tree := r.tree(t)
		compareTimes(t, &c, r, answers[i].Truth)
		if call := tree.find("Call"); call == nil || call.find("cgocallback") == nil || call.find("doze") == nil {
			t.Errorf("what C calls is not under what calls C: %s\n%s", r, tree)
		}
		if tree.find("[truncated]") != nil || tree.total("[blocked]") > 0.002 {
			t.Errorf("%s\n%s", r, tree)
		}
	}
	c.check(t)
}

// TestGoGrowingStack has each request's goroutine spend most of its time on being given larger stacks. Whatever it does, it
// does so below the server.
func TestGoGrowingStack(t *testing.T) {
	prepared(t)
	const requests = 200
	s := goService(t, goBuilds[1])
	a := attach(t, s.PID, "-F", "2000")
	for range requests {
		s.get(t, "/climb")
	}
	climbed := 0
	for _, r := range a.exactly(t, requests) {
		tree := r.tree(t)
		if tree.find("climb") != nil {
			climbed++
		}
		tree.walk(func(f *Frame, above []*Frame) {
			if f.name() == "deep" && !slices.ContainsFunc(above, func(f *Frame) bool { return f.Function == "net/http.(*conn).serve" }) {
				t.Fatalf("without the server:\n%s", tree)
			}
		})
	}
	if climbed < requests/10 {
		t.Errorf("%d of %d requests were seen at work", climbed, requests)
	}
}

// TestGoWaits looks for the leaves with which Go itself tells what a goroutine waits for.
func TestGoWaits(t *testing.T) {
	waits := []struct{ view, function, leaf, blocked string }{
		{"/doze", "doze", "[sleep]", "sleep"},
		{"/receive", "receive", "[chan receive]", "chan"},
		{"/send", "send", "[chan send]", "chan"},
		{"/choose", "choose", "[select]", "chan"},
		{"/acquire", "acquire", "[sync.Mutex.Lock]", "lock"},
		{"/ask", "ask", "[IO wait]", "socket"},
		{"/pipe", "readPipe", "[pipe]", "pipe"},
		{"/fan", "fan", "[sync.WaitGroup.Wait]", "lock"},
	}
	prepared(t)
	s := goService(t, goBuilds[0])
	a := attach(t, s.PID)
	for _, w := range waits {
		s.get(t, w.view)
	}
	for i, r := range a.exactly(t, len(waits)) {
		w := waits[i]
		tree := r.tree(t)
		function := tree.find(w.function)
		if function == nil {
			t.Errorf("%s is not told: %s\n%s", w.function, r, tree)
			continue
		}
		if got := function.total(w.leaf); got < 0.02 {
			t.Errorf("%s: %.6f s of %s, want nearly all: %s\n%s", w.view, got, w.leaf, r, tree)
		}
		if got := r.Request.Blocked[w.blocked]; got < 0.02 {
			t.Errorf("%s: blocked says %v", w.view, r.Request.Blocked)
		}
	}
}

// TestGoBranches has a handler start goroutines, in the Go at hand and in the oldest one that was fetched, whose runtime
// may not tell who did.
func TestGoBranches(t *testing.T) {
	prepared(t)
	oldest := slices.MinFunc(targettest.Toolchains(t), func(a, b targettest.Toolchain) int { return a.Minor - b.Minor })
	t.Run("at_hand", func(t *testing.T) { checkGoBranches(t, goService(t, goBuilds[1])) })
	t.Run(oldest.Version, func(t *testing.T) {
		checkGoBranches(t, startGo(t, oldest.BuildGo(t, filepath.Join(testdata(t), "goservice"), targettest.Builds[0])))
	})
}

func checkGoBranches(t *testing.T, s *Service) {
	t.Helper()
	a := attach(t, s.PID)
	s.get(t, "/fan")
	s.get(t, "/outlive")
	const timed = 3
	for range timed {
		s.get(t, "/timed")
	}
	records := a.exactly(t, 2+timed)
	checkSums(t, records...)
	tree := records[0].tree(t)
	if fan := tree.find("fan"); fan == nil || fan.count("[goroutine]") != 1 {
		t.Fatalf("not one frame for all goroutines under fan:\n%s", tree)
	}
	branch := tree.find("[goroutine]")
	if branch.Time < 20*0.015 || branch.find("branch") == nil || branch.total("[sleep]") < 20*0.015 {
		t.Errorf("20 goroutines that sleep 30 ms each:\n%s", branch)
	}
	told := slices.ContainsFunc(records[2:], func(r *Record) bool { // on a busy machine one may begin unseen
		handler := r.tree(t).find("[goroutine]")
		return handler != nil && handler.total("[sleep]") > 0.02 && handler.total("[pipe]") > 0.02
	})
	if !told {
		t.Errorf("no handler of a TimeoutHandler is told with its system call:\n%s", records[2].tree(t))
	}
}

// TestGoOwner has 50 requests at once, each with a function of its own.
func TestGoOwner(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[1])
	a := attach(t, s.PID)
	const requests, rounds = 50, 3
	for range rounds {
		var wait sync.WaitGroup
		for i := range requests {
			wait.Go(func() { s.get(t, fmt.Sprintf("/own/%d", i)) })
		}
		wait.Wait()
	}
	foreign, missing := 0, 0
	for _, r := range a.exactly(t, rounds*requests) {
		own := "own" + strings.TrimPrefix(r.Endpoint, "/own/")
		tree := r.tree(t)
		if tree.find(own) == nil {
			missing++
		}
		tree.walk(func(f *Frame, _ []*Frame) {
			if name := f.name(); strings.HasPrefix(name, "own") && name != own {
				foreign++
			}
		})
	}
	if foreign > 0 || missing > 0 {
		t.Errorf("of %d requests %d lack their own function, %d frames are others'", rounds*requests, missing, foreign)
	}
}

// TestGoOutlived has handlers start goroutines that outlive them, which is over before anyone looks. They are none of the next
// request's on the connection, but where numbers of goroutines came to the end of a processor's batch no one can tell.
func TestGoOutlived(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[1])
	a := attach(t, s.PID)
	c := s.dial(t)
	const rounds = 32
	for range rounds {
		c.do(t, "GET", "/outlive", "", "")
		c.do(t, "GET", "/doze", "", "")
	}
	foreign := 0
	for _, r := range a.exactly(t, 2*rounds) {
		if r.Endpoint == "/doze" && r.tree(t).find("outlive") != nil {
			foreign++
		}
	}
	if foreign > rounds/5 {
		t.Errorf("%d of %d requests are told what the one before had started", foreign, rounds)
	}
}

// TestGoEventLoop has a goroutine read for all connections, and others serve what it has read: each started for it, or one of
// a pool.
func TestGoEventLoop(t *testing.T) {
	prepared(t)
	for _, mode := range []string{"loop", "loop_pool"} {
		t.Run(mode, func(t *testing.T) {
			s := goService(t, goBuilds[1], mode)
			a := attach(t, s.PID, "-F", "1000")
			const alone, together = 6, 40
			ask := func(i int) *Answer { return s.get(t, fmt.Sprintf("/own/%d", i)) }
			ask(0) // by which it is found that others answer
			a.await(t, 1)
			for i := range alone {
				ask(i)
			}
			var wait sync.WaitGroup
			for i := range together {
				wait.Go(func() { ask(i) })
			}
			wait.Wait()
			fan := s.get(t, "/fan")
			records := a.exactly(t, 2+alone+together)
			checkSums(t, records...)
			for _, r := range records[1 : 1+alone+together] {
				checkOwn(t, r, "own"+strings.TrimPrefix(r.Endpoint, "/own/"))
				if r.incomplete("owner") {
					t.Errorf("%s", r)
				}
			}
			last := records[1+alone+together]
			precise(last)
			var c comparison
			compareTimes(t, &c, last, fan.Truth)
			c.check(t)
			if f := last.tree(t).find("[goroutine]"); f == nil || f.find("branch") == nil {
				t.Errorf("no goroutines of fan:\n%s", last.tree(t))
			}
		})
	}
}

// TestGoHandedOn has heads read by goroutines that give the connections to others to serve them.
func TestGoHandedOn(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[1], "match")
	a := attach(t, s.PID, "-F", "1000")
	var answers []*Answer
	for range 6 {
		for _, view := range []string{"doze", "receive", "ask", "fan", "several"} {
			answers = append(answers, s.get(t, "/"+view))
		}
	}
	records := a.exactly(t, len(answers))
	checkSums(t, records...)
	told := byID(t, records)
	var c comparison
	for _, answer := range answers {
		if r := told[answer.ID]; !r.incomplete("precision") { // as on a busy machine
			compareTimes(t, &c, r, answer.Truth)
		}
	}
	c.check(t)
	if c.right == 0 {
		t.Errorf("nothing is told precisely: %s", records[0])
	}
}

// TestGoRequests has requests that end in every way.
func TestGoRequests(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[0])
	a := attach(t, s.PID)
	c := dial(t, s.Address)
	c.do(t, "GET", "/", "", "")
	c.do(t, "HEAD", "/", "", "")
	c.do(t, "POST", "/echo", "Content-Length: 5\r\n", "hello")
	c.do(t, "POST", "/echo", "Transfer-Encoding: chunked\r\n", chunked(strings.Repeat("x", 100_000), 30_000))
	stream := c.do(t, "GET", "/stream", "", "")
	c.do(t, "GET", "/missing?a=b", "", "")
	a.await(t, 6)
	broken := dial(t, s.Address)
	head, _ := broken.head("GET", "/panic", "")
	broken.send(t, head)
	broken.reader.ReadByte()
	upgraded := dial(t, s.Address)
	upgraded.do(t, "GET", "/hijack", "Connection: Upgrade\r\nUpgrade: echo\r\n", "")
	upgraded.send(t, "GET / HTTP/1.1\r\n\r\n")
	a.await(t, 8)
	left := dial(t, s.Address)
	head, _ = left.head("GET", "/abandoned", "")
	left.send(t, head)
	left.Close()
	a.await(t, 9)
	last := dial(t, s.Address)
	head, _ = last.head("GET", "/exit", "")
	last.send(t, head)
	if status := a.exit(t); status != 0 {
		t.Fatalf("the agent ended with status %d", status)
	}
	records := a.records(t)
	want := []string{
		"GET / 200 []", "HEAD / 200 []", "POST /echo 200 []", "POST /echo 200 []", "GET /stream 200 []", "GET /missing 200 []",
		"GET /panic 0 [no_response]", "GET /hijack 101 [upgraded]", "GET /abandoned 200 []", "GET /exit 0 [no_response target_exited]",
	}
	for i, r := range records {
		precise(r)
		got := fmt.Sprintf("%s %s %d %v", r.Request.Method, r.Endpoint, r.Request.Status, r.Request.Incomplete)
		if i >= len(want) || got != want[i] {
			t.Errorf("record %d: %s", i, got)
		}
	}
	if len(records) != len(want) {
		t.Fatalf("%d records, want %d", len(records), len(want))
	}
	checkSums(t, records...)
	if d := records[4].Request.Duration; d < 0.12 || stream.StatusCode != 200 {
		t.Errorf("a streamed answer of 150 ms: %s", records[4])
	}
	if r := records[0]; !strings.HasPrefix(r.Request.Runtime, "go1.") || r.ProcName != "goservice" || r.Services != s.Address {
		t.Errorf("%s", r.raw)
	}
}

// TestGoSizedAnswer has an answer wait when it was begun at once, and again where the server asked for the body before.
func TestGoSizedAnswer(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[0])
	a := attach(t, s.PID)
	c := s.dial(t)
	c.do(t, "GET", "/sized", "", "")
	time.Sleep(200 * time.Millisecond) // or the agent would look for slow requests anyway
	body := strings.Repeat("x", 1000)
	head, _ := c.head("POST", "/echo", "Expect: 100-continue\r\nContent-Length: 1000\r\n")
	c.send(t, head)
	c.answer(t, "POST")
	time.Sleep(100 * time.Millisecond)
	c.send(t, body)
	c.answer(t, "POST")
	records := a.exactly(t, 2)
	checkSums(t, records...)
	const polled = 0.06 // seconds until the agent learns of the answer
	if tree := records[0].tree(t); tree.total("[not sampled]") > polled {
		t.Errorf("an answer of a told length: %s\n%s", records[0], tree)
	}
	if tree := records[1].tree(t); tree.total("[IO wait]") < 0.1-polled {
		t.Errorf("a body that comes later: %s\n%s", records[1], tree)
	}
}

// TestGoChunkedAnswer has answers go on in chunks that do not end where writes do.
func TestGoChunkedAnswer(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[0])
	a := attach(t, s.PID)
	c := s.dial(t)
	const rounds = 3
	for range rounds {
		c.do(t, "GET", "/page", "", "")
		c.do(t, "GET", "/parts", "", "")
	}
	told := map[string]int{}
	for _, r := range a.exactly(t, 2*rounds) {
		if tree := r.tree(t); tree.inclusive()["doze"] >= 0.05 { // it was called twice for 30 ms
			told[r.Endpoint]++
		} else if !r.incomplete("precision") {
			t.Errorf("%s\n%s", r, tree)
		}
	}
	for _, endpoint := range []string{"/page", "/parts"} {
		if told[endpoint] < rounds-1 { // on a busy machine the agent may once come late
			t.Errorf("%s is told %d times of %d", endpoint, told[endpoint], rounds)
		}
	}
}

// TestGoAfterPause has slow requests come after pauses, in which the agent sleeps, on a connection where the answer before
// looked as if it went on.
func TestGoAfterPause(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[0])
	a := attach(t, s.PID)
	c := s.dial(t)
	const rounds = 3
	for range rounds {
		c.do(t, "POST", "/echo", "Content-Length: 6\r\n", "line\r\n")
		time.Sleep(300 * time.Millisecond)
		c.do(t, "GET", "/doze", "", "")
	}
	for _, r := range a.exactly(t, 2*rounds) {
		if tree := r.tree(t); r.Endpoint == "/doze" && tree.find("doze") == nil {
			t.Errorf("no doze: %s\n%s", r, tree)
		}
	}
}

// TestGoAfterWork has a short wait come after requests that did not wait: the agent then leaves slow ones alone for a while.
func TestGoAfterWork(t *testing.T) {
	prepared(t)
	s := goService(t, goBuilds[0])
	a := attach(t, s.PID, "-F", "1000")
	const rounds, works = 20, 2
	for range rounds {
		for range works {
			s.get(t, "/hurry")
		}
		s.get(t, "/drowse")
	}
	missing := 0
	for _, r := range a.exactly(t, rounds*(works+1)) {
		if r.Endpoint == "/drowse" && r.tree(t).find("drowse") == nil {
			missing++
		}
	}
	if missing > rounds/4 { // on a busy machine no CPU may be idle
		t.Errorf("%d of %d waits are not told", missing, rounds)
	}
}

// TestGoNoneLostUnderLoad compares the number of records with the service's own count.
func TestGoNoneLostUnderLoad(t *testing.T) {
	prepared(t)
	records := underLoad(t, goService(t, goBuilds[1]), 32)
	checkSums(t, records[:min(len(records), 1000)]...)
}
