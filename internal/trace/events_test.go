package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"apm-ebpf/internal/filter"
	"apm-ebpf/internal/http1"
	"apm-ebpf/internal/symbol"
)

const (
	ms     = uint64(1_000_000)
	server = uint32(100) // process, and its main thread
)

// play drives a Tracer with events at milliseconds and keeps what was told of each request.
type play struct {
	t      testing.TB
	tracer *Tracer
	funcs  map[string]*symbol.Func
	told   map[string]*told
	root   uint64 // address of the outermost frame of the stacks to come
	item   uint64 // job of an executor that they are of, 0: none
	framer uint64 // goroutine that reads and writes HTTP/2's frames, 0: none of Go's
}

// told is what was told of a request.
type told struct {
	*Request
	Profile
	ns uint64 // duration
}

func newPlay(t testing.TB) *play {
	p := &play{t: t, funcs: map[string]*symbol.Func{}, told: map[string]*told{}, root: 1, framer: framer}
	p.tracer = New(1, func(r *Request) {
		profile := *p.tracer.Profile(r)
		text, request := *r.Request, *r // which are others' by and by
		request.Request = &text
		x := &told{Request: &request, Profile: profile, ns: uint64(r.Duration())}
		for i, f := range x.Frames { // the next request's are written over them
			kept := *f
			x.Frames[i] = &kept
		}
		x.Frames = slices.Clone(x.Frames)
		p.told[r.Target] = x
		p.filled(x)
	})
	return p
}

// filled checks that the request's own lane fills its window exactly.
func (p *play) filled(x *told) {
	p.t.Helper()
	sum := int64(0)
	for _, time := range x.Waits {
		sum += time
	}
	if sum != x.Duration() || x.Frames[len(x.Frames)-1].Time != x.Duration() {
		p.t.Errorf("%s: slices of %d ns in %d ns, root %d", x.Target, sum, x.Duration(), x.Frames[len(x.Frames)-1].Time)
	}
}

// stack makes a stack of functions, outermost first. NAME@FILE is in a file; *NAME is the coroutine of a task, whose
// object is named by the function. NAME#NUMBER is at an instruction.
func (p *play) stack(text string) *Stack {
	s := &Stack{Root: p.root, Item: p.item}
	for _, name := range strings.Fields(text) {
		name, instr, _ := strings.Cut(name, "#")
		f := Frame{Func: p.fn(strings.TrimPrefix(name, "*"))}
		f.Instr, _ = strconv.ParseUint(instr, 10, 64)
		if name[0] == '*' {
			f.Task = p.coroutine(name[1:])
		}
		s.Frames = append(s.Frames, f)
	}
	if len(s.Frames) == 0 {
		s.Root = 0
	}
	return s
}

func (p *play) fn(name string) *symbol.Func {
	if p.funcs[name] == nil {
		function, file, _ := strings.Cut(name, "@")
		p.funcs[name] = &symbol.Func{Name: function, File: "/" + file, Line: len(p.funcs) + 1}
	}
	return p.funcs[name]
}

func (p *play) coroutine(name string) uint64 { p.fn(name); return uint64(p.funcs[name].Line) << 12 }

func (p *play) open(conn uint64) {
	p.tracer.Open(Connection{ID: conn, PID: server, Local: netip.AddrPort{}}, 0)
}

// read has a thread read a request's head.
func (p *play) read(at, conn uint64, tid uint32, path string) {
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path)
	p.tracer.Received(&Transfer{
		Connection: conn, Begun: at * ms, Begins: true, Sampled: true, PID: server, TID: tid, Time: at * ms,
		Chunk: http1.Chunk{Head: []byte(head), Len: len(head)},
	})
}

// write has a thread write a whole answer with a stack.
func (p *play) write(at, conn uint64, tid uint32, stack string) {
	p.tracer.Write(server, tid, at*ms, p.stack(stack))
	p.sent(at, conn, tid, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

func (p *play) sent(at, conn uint64, tid uint32, text string) {
	p.tracer.Sent(&Transfer{
		Connection: conn, PID: server, TID: tid, Time: at * ms, Chunk: http1.Chunk{Head: []byte(text), Len: len(text)},
	})
}

func (p *play) sample(at uint64, tid uint32, stack string) {
	p.tracer.Sample(server, tid, at*ms, p.stack(stack))
}

func (p *play) leave(at uint64, tid uint32, stack string, why Reason) {
	p.tracer.SwitchOut(server, tid, at*ms, p.stack(stack), why)
}

func (p *play) wake(at uint64, tid uint32)   { p.tracer.Wake(server, tid, at*ms) }
func (p *play) resume(at uint64, tid uint32) { p.tracer.SwitchIn(server, tid, at*ms) }

const deque = 0x77

// put and take have a thread put an object into a queue and take one.
func (p *play) put(at uint64, tid uint32, stack string, object uint64) {
	p.tracer.Job(server, tid, at*ms, p.stack(stack), object, deque)
}

func (p *play) take(at uint64, tid uint32, stack string, object uint64) {
	p.tracer.Take(server, tid, at*ms, p.stack(stack), object, deque)
}

// task has a thread make a task around the coroutine of a function.
func (p *play) task(at uint64, tid uint32, stack, coroutine string) {
	p.tracer.Task(server, tid, at*ms, p.stack(stack), p.coroutine(coroutine), 0)
}

// step begins a step of the task whose suspended chain is given; done tells that the task before has finished.
func (p *play) step(at uint64, tid uint32, chain string, done bool) {
	frames := p.stack(chain).Frames
	p.tracer.Step(server, tid, at*ms, Step{Coroutine: frames[0].Task, Chain: frames, LastDone: done})
}

func (p *play) greenlet(at uint64, tid uint32, root uint64, stack string, to uint64) {
	p.root = root
	p.tracer.Greenlet(server, tid, at*ms, p.stack(stack), to)
	p.root = to
}

// spawn has the greenlet with that outermost frame create another.
func (p *play) spawn(at uint64, tid uint32, root uint64, stack string, object uint64) {
	p.root = root
	p.tracer.Spawn(server, tid, at*ms, p.stack(stack), object)
}

// wants compares a request's tree: one function a line with its milliseconds, callees below callers.
func (p *play) wants(path, tree string) {
	p.t.Helper()
	x := p.told[path]
	if x == nil {
		p.t.Fatalf("nothing was told of %s", path)
	}
	if got, want := draw(x.Frames), strings.TrimSpace(tree); got != want {
		p.t.Errorf("%s:\n%s\nwant:\n%s", path, got, want)
	}
}

// draw gives the frames in pre-order, the last callee first.
func draw(frames []*filter.Frame) string {
	var lines []string
	for i := len(frames) - 1; i >= 0; i-- {
		f := frames[i]
		lines = append(lines, fmt.Sprintf("%s%s %g", strings.Repeat("  ", f.Depth), f.Function, float64(f.Time)/float64(ms)))
	}
	return strings.Join(lines, "\n")
}
