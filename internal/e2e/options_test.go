package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// filters are combinations of flags and which frames they keep, given the frame and the working directory.
var filters = []struct {
	flags []string
	keeps func(f *Frame, dir string) bool
}{
	{[]string{"--threshold", "0.004"}, func(f *Frame, _ string) bool { return f.Time > 0.004 }},
	{[]string{"--filter", "threshold-time=1000"}, func(*Frame, string) bool { return false }},
	{[]string{"--app-only"}, func(f *Frame, dir string) bool { return f.App && strings.HasPrefix(f.File, dir+"/") }},
	{[]string{"--filter", "app-only=/"}, func(f *Frame, _ string) bool { return strings.HasPrefix(f.File, "/") }},
	{[]string{"--filter", "app-only=/nowhere"}, func(*Frame, string) bool { return false }},
	{[]string{"--filter", "module-path=gunicorn/"}, func(f *Frame, _ string) bool { return strings.Contains(f.File, "gunicorn/") }},
	{[]string{"--filter", "not-include=gunicorn"}, func(f *Frame, _ string) bool { return !strings.Contains(f.File, "gunicorn") }},
	{[]string{"--filter", "not-include=gunicorn", "--app-only", "--threshold", "0.01"}, func(f *Frame, dir string) bool {
		return f.App && strings.HasPrefix(f.File, dir+"/") && f.Time > 0.01
	}},
	{[]string{"--filter", "module-path=gunicorn", "--filter", "not-include=gunicorn"}, func(*Frame, string) bool { return false }},
}

// TestFilters has two agents see the same request: one tells everything, the other what is left of it.
func TestFilters(t *testing.T) {
	s := gunicorn(t, anyPython(t), "work")
	dir := testdata(t)
	for _, mapper := range []string{"tree2list", "tree"} {
		for _, f := range filters {
			t.Run(mapper+" "+strings.Join(f.flags, " "), func(t *testing.T) {
				a := attach(t, s.PID, append([]string{"--mapper", mapper}, f.flags...)...)
				s.get(t, "/outer")
				r := a.exactly(t, 1)[0]
				frames, top := r.frames(t)
				for _, frame := range frames {
					if !f.keeps(frame, dir) {
						t.Errorf("keeps %s %.6f of %s", frame.Function, frame.Time, frame.File)
					}
				}
				if f.keeps(&Frame{File: dir + "/work.py", App: true, Time: 0.02}, dir) && !has(frames, "outer") {
					t.Errorf("drops the view: %s", r.raw)
				}
				if len(frames) == 0 && string(r.Stacktrace.RootFrame) != "[]" {
					t.Errorf("nothing is left, but root_frame is %s", r.Stacktrace.RootFrame)
				}
				if mapper == "tree" && top == 1 && r.Stacktrace.RootFrame[0] != '{' || top > 1 && r.Stacktrace.RootFrame[0] != '[' {
					t.Errorf("%d frames on top are told as %.1s", top, r.Stacktrace.RootFrame)
				}
			})
		}
	}
}

// frames gives the record's frames, whatever their shape, and how many of them are on top of a tree.
func (r *Record) frames(t testing.TB) (frames []*Frame, top int) {
	t.Helper()
	if r.Stacktrace.RootFrame[0] == '{' {
		r.tree(t).walk(func(f *Frame, _ []*Frame) { frames = append(frames, f) })
		return frames, 1
	}
	list := r.list(t)
	for _, f := range list {
		f.walk(func(f *Frame, _ []*Frame) { frames = append(frames, f) })
	}
	return frames, len(list)
}

func has(frames []*Frame, function string) bool {
	return slices.ContainsFunc(frames, func(f *Frame) bool { return f.name() == function })
}

// TestMappers has one tree in both shapes: a list in post-order, and nested.
func TestMappers(t *testing.T) {
	s := gunicorn(t, anyPython(t), "work")
	list, tree := attach(t, s.PID), attach(t, s.PID, "--mapper", "tree")
	s.get(t, "/outer")
	a, b := list.exactly(t, 1)[0], tree.exactly(t, 1)[0]
	checkSums(t, a, b)
	for _, r := range []*Record{a, b} {
		tree := r.tree(t)
		outer, middle := tree.find("outer"), tree.find("middle")
		if outer == nil || middle == nil || outer.find("middle") != middle || middle.find("inner") == nil {
			t.Errorf("outer > middle > inner are not nested:\n%s", tree)
		}
	}
	if b.Stacktrace.RootFrame[0] != '{' || strings.Contains(b.raw, `"depth"`) || strings.Contains(a.raw, `"children"`) {
		t.Errorf("shapes are mixed:\n%s%s", a.raw, b.raw)
	}
}

// TestSampleRate gives a tree to exactly one of any three consecutive requests.
func TestSampleRate(t *testing.T) {
	onEachWorker(t, func(t *testing.T, w worker) {
		s := gunicorn(t, anyPython(t), "app", w.flags...)
		a := attach(t, s.PID, "--sample-rate", "3")
		const n = 30
		for range n {
			s.get(t, "/nap/2")
		}
		oneInThree(t, a.exactly(t, n))
	})
}

// TestSampleRateAfterExec goes on in a process that has become another program.
func TestSampleRateAfterExec(t *testing.T) {
	s := plain(t, anyPython(t), "127.0.0.1")
	a := attach(t, s.PID, "--sample-rate", "3")
	const n = 30
	for range n {
		s.get(t, "/before")
	}
	s.get(t, "/renew")
	s.Address = net.JoinHostPort("127.0.0.1", s.Log.wait(t, `Listening at: (\d+)`, 2)[1])
	eventually(t, "it is recognised again", func() bool {
		s.get(t, "/again")
		return slices.ContainsFunc(a.records(t), func(r *Record) bool { return r.Endpoint == "/again" })
	})
	for range n {
		s.get(t, "/after")
	}
	sampledOnce(t, a.stop(t))
}

// oneInThree holds requests of 2 ms and more, which came one after another, against --sample-rate 3.
func oneInThree(t *testing.T, records []*Record) {
	t.Helper()
	sampledOnce(t, records)
	for _, r := range records {
		if !r.sampled() && (!strings.Contains(r.raw, `"stacktrace":{}`) || r.Request.Duration < 0.002) {
			t.Errorf("%s", r.raw)
		}
	}
	checkSums(t, records...)
}

// sampledOnce looks for one tree among any three requests in a row.
func sampledOnce(t *testing.T, records []*Record) {
	t.Helper()
	for i := range len(records) - 2 {
		n := 0
		for _, r := range records[i : i+3] {
			if r.sampled() {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d of the requests from %d on have trees:\n%s", n, i, summaries(records[i:i+3]))
		}
	}
}

// TestOtherOptions holds one record against what each option asks for.
func TestOtherOptions(t *testing.T) {
	s := gunicorn(t, anyPython(t), "app", "--name", "from gunicorn")
	tests := []struct {
		name  string
		flags []string
		env   string
		right func(r *Record) bool
	}{
		{"none", nil, "", func(r *Record) bool {
			return r.Endpoint == "/nap/30" && r.ProcName == "from gunicorn" && strings.Contains(r.Stacktrace.Program, "app:app") &&
				!strings.Contains(r.raw, `"lines"`)
		}},
		{"with-query", []string{"--with-query"}, "", func(r *Record) bool { return r.Endpoint == "/nap/30?a=%20b" }},
		{"proc-name", []string{"--proc-name", "näme"}, "", func(r *Record) bool { return r.ProcName == "näme" }},
		{"no-command-line", []string{"--no-command-line"}, "", func(r *Record) bool { return r.Stacktrace.Program == "" }},
		{"lines", []string{"--lines"}, "", func(r *Record) bool {
			nap := r.tree(t).find("nap")
			return nap != nil && nap.Lines[lineOf(t, "time.sleep(int(argument)")] > 0.028
		}},
		{"environment", nil, "APM_EBPF_PROC_NAME=env", func(r *Record) bool { return r.ProcName == "env" }},
		{"flag beats environment", []string{"--proc-name", "flag"}, "APM_EBPF_PROC_NAME=env", func(r *Record) bool { return r.ProcName == "flag" }},
		{"switch by environment", nil, "APM_EBPF_WITH_QUERY=1", func(r *Record) bool { return r.Endpoint == "/nap/30?a=%20b" }},
		{"filters by environment", nil, "APM_EBPF_FILTER=module-path=app.py\nnot-include=gunicorn", func(r *Record) bool {
			frames, _ := r.frames(t)
			return has(frames, "nap") && !has(frames, "run")
		}},
		{"pid by environment", []string{"--no-command-line"}, "APM_EBPF_PID=" + strconv.Itoa(s.PID), func(r *Record) bool { return r.Request.PID != 0 }},
		{"min-duration", []string{"--min-duration", "0.02"}, "", func(r *Record) bool { return r.Request.Duration >= 0.02 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "records.jsonl")
			args := append([]string{"--log-file", path}, test.flags...)
			if !strings.HasPrefix(test.env, "APM_EBPF_PID") {
				args = append(args, "--pid", strconv.Itoa(s.PID))
			}
			command := exec.Command(prepared(t).binary, args...)
			command.Env = append(os.Environ(), test.env)
			a := &Agent{Process: startProcess(t, command), path: path}
			a.ready(t)
			if test.name == "min-duration" {
				s.get(t, "/")
			}
			s.get(t, "/nap/30?a=%20b")
			if r := a.exactly(t, 1)[0]; !test.right(r) {
				t.Errorf("%s", r.raw)
			}
		})
	}
}

// lineOf is the number of the only line of app.py that contains a text.
func lineOf(t testing.TB, text string) string {
	t.Helper()
	source, err := os.ReadFile("testdata/app.py")
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(source), text)
	if !found {
		t.Fatalf("no %q in app.py", text)
	}
	return strconv.Itoa(strings.Count(before, "\n") + 1)
}
