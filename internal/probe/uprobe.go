package probe

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/cilium/ebpf/link"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// AttachAsyncio has the kernel programs see the tasks of a process, given the file of its _asyncio module,
// the offsets in it of the places where a task is created and its steps begin, and where a task keeps its coroutine.
func (p *Probe) AttachAsyncio(pid int, file string, create, step, wakeup uint64, coroutine uint32) error {
	if err := p.tellCoroutine(pid, coroutine); err != nil {
		return err
	}
	return p.attachUprobes(pid, file, []uprobe{
		{program: "task_init", offset: create},
		{program: "task_step", offset: step},
		{program: "task_wakeup", offset: wakeup},
	})
}

// AttachGreenlet has the kernel programs see the greenlets of a process, given the file of its greenlet module
// and the offsets in it of the places where one is created and where one leaves its thread. old: it is older than 2.0.
func (p *Probe) AttachGreenlet(pid int, file string, create, leave uint64, old bool) error {
	if old {
		return p.attachUprobes(pid, file, []uprobe{{program: "old_greenlet_init", offset: create}, {program: "old_greenlet_switch", offset: leave}})
	}
	return p.attachUprobes(pid, file, []uprobe{{program: "greenlet_init", offset: create}, {program: "greenlet_switch", offset: leave}})
}

// AttachQueue has the kernel programs see what a process puts into queues and takes from them, given the file of its
// _queue module and the offsets in it of the places where it puts, and of the functions by which it takes.
func (p *Probe) AttachQueue(pid int, file string, put, get []uint64) error {
	return p.attachAll(attached{pid, onQueues}, file, slices.Concat(onEach("queue_put", put, false), onEach("queue_got", get, true)))
}

// AttachGeventQueue has them see what is put into queues of gevent's, given the file of their module.
func (p *Probe) AttachGeventQueue(pid int, file string, put []uint64) error {
	return p.attachUprobes(pid, file, onEach("queue_put", put, false))
}

// DetachQueue undoes AttachQueue, and tells whether there was anything to undo. It does not wait.
func (p *Probe) DetachQueue(pid int) bool { return p.detach(attached{pid, onQueues}) }

// AttachDeque does so for the queues that Python keeps in deques, given the file of its _collections module and the
// offsets in it of the places where one is filled and emptied.
func (p *Probe) AttachDeque(pid int, file string, appends, popLeft uint64) error {
	return p.attachAll(attached{pid, onDeques}, file, []uprobe{
		{program: "deque_append", offset: appends},
		{program: "deque_popleft", offset: popLeft},
	})
}

// DequeUses tells how often a process has used a deque since AttachDeque, of whatever kind.
func (p *Probe) DequeUses(pid int) uint64 {
	var t apmTarget
	if p.objects.Targets.Lookup(uint32(pid), &t) != nil {
		return 0
	}
	return t.Deques
}

// DetachDeque undoes AttachDeque. It does not wait.
func (p *Probe) DetachDeque(pid int) { p.detach(attached{pid, onDeques}) }

// AttachEpoll has the kernel programs see who waits until a connection can be written to, given the file of a process's
// select module and the offset in it of the place where it asks for that.
func (p *Probe) AttachEpoll(pid int, file string, modify uint64) error {
	return p.attachUprobes(pid, file, []uprobe{{program: "epoll_modify", offset: modify}})
}

// AttachStream has the kernel programs see who has an answer that uvloop writes, given the file of a process's
// uvloop.loop module and the offsets in it of the methods that take what to write.
func (p *Probe) AttachStream(pid int, file string, writes []uint64) error {
	return p.attachUprobes(pid, file, onEach("stream_write", writes, false))
}

// AttachContexts has the kernel programs see who copies its contextvars.Context, given the file of a process's interpreter
// and the offset in it of the function that copies.
func (p *Probe) AttachContexts(pid int, file string, copies uint64) error {
	return p.attachUprobes(pid, file, []uprobe{{program: "context_copied", offset: copies, ret: true}})
}

// AttachTrio has the kernel programs see the steps of trio's tasks, given the file of a process's interpreter and the offsets
// in it of the functions that copy a contextvars.Context and of the one that runs something in one.
func (p *Probe) AttachTrio(pid int, file string, copies []uint64, run uint64) error {
	return p.attachUprobes(pid, file, append([]uprobe{{program: "context_run", offset: run}}, onEach("context_copied", copies, true)...))
}

// AttachCode has the kernel programs see the end of the code objects of a process, given the file of its
// interpreter and the offset in it of their destructor.
func (p *Probe) AttachCode(pid int, file string, dealloc uint64) error {
	return p.attachUprobes(pid, file, []uprobe{{program: "code_dealloc", offset: dealloc}})
}

// AttachHTTP2 has the kernel programs see which goroutine serves which HTTP/2 stream of a Go process, given its
// executable and the offsets in it of instructions near the beginning of (*serverConn).runHandler, before which its
// arguments are still in registers, and of (*responseWriter).handlerDone. They are internal if of net/http/internal/http2.
func (p *Probe) AttachHTTP2(pid int, file string, internal bool, runHandler, handlerDone uint64) error {
	begins := "go_run_handler"
	if internal {
		begins = "go_run_internal"
	}
	return p.attachUprobes(pid, file, []uprobe{
		{program: begins, offset: runHandler},
		{program: "go_handler_done", offset: handlerDone},
	})
}

// AttachGoStarts has the kernel programs see who starts goroutines in a Go process, for GoParent, given the offset in its
// executable of the call of runtime.runqput that runtime.newproc makes.
func (p *Probe) AttachGoStarts(pid int, file string, runqput uint64) error {
	return p.attachUprobes(pid, file, []uprobe{{program: "go_newproc", offset: runqput}})
}

// GoParent gives the goroutine that started another one of a process while a request was open there, 0 where that is not
// known or was long ago.
func (p *Probe) GoParent(pid int, goroutine uint64) (parent uint64) {
	key := apmGoroutineKey{Goroutine: goroutine, Pid: uint32(pid)}
	if p.objects.GoParents.Lookup(&key, &parent) != nil {
		return 0
	}
	return parent
}

// AttachGRPC is as AttachHTTP2 for google.golang.org/grpc: instructions of (*Server).handleStream, which are to be near its
// beginning, and of (*http2Server).writeStatus. AddGo must have told where its structs keep what is read.
func (p *Probe) AttachGRPC(pid int, file string, handleStream, writeStatus uint64) error {
	return p.attachUprobes(pid, file, []uprobe{
		{program: "go_grpc_handle", offset: handleStream},
		{program: "go_handler_done", offset: writeStatus},
	})
}

// attached names the uprobes of a process that are detached together.
type attached struct {
	pid int
	on  attachedOn
}

type attachedOn int

// What they are on: those on queues and deques may be detached before the process ends.
const (
	onOthers attachedOn = iota
	onQueues
	onDeques
)

// uprobe is a program and where in a file it runs: before the instruction at offset, in bytes, or with ret as the
// function that begins there returns. Never ret in Go programs, whose stacks move.
type uprobe struct {
	program string
	offset  uint64
	ret     bool
}

// onEach has a program run at each of some offsets.
func onEach(program string, offsets []uint64, ret bool) []uprobe {
	uprobes := make([]uprobe, len(offsets))
	for i, offset := range offsets {
		uprobes[i] = uprobe{program: program, offset: offset, ret: ret}
	}
	return uprobes
}

// attachUprobes attaches for one process: others that map the same file must not pay for a trap.
func (p *Probe) attachUprobes(pid int, file string, uprobes []uprobe) error {
	return p.attachAll(attached{pid, onOthers}, file, uprobes)
}

// attachAll attaches all or none.
func (p *Probe) attachAll(to attached, file string, uprobes []uprobe) error {
	programs := make([]string, len(uprobes))
	for i, u := range uprobes {
		programs[i] = u.program
	}
	if err := p.loader.load(programs...); err != nil {
		return explain(err)
	}
	executable, err := link.OpenExecutable(file)
	if err != nil {
		return fmt.Errorf("attach uprobes to %s: %w", file, err)
	}
	var links []link.Link
	for _, u := range uprobes {
		l, err := p.attachUprobe(executable, to.pid, u)
		if errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENOENT) { // what link makes of it for a uprobe_multi
			err = unix.ESRCH
		}
		if err != nil {
			err = fmt.Errorf("attach uprobe to %s+%#x of process %d: %w", file, u.offset, to.pid, err)
			return errors.Join(err, closeAll(links))
		}
		links = append(links, l)
	}
	p.uprobes[to] = append(p.uprobes[to], links...)
	return nil
}

func (p *Probe) attachUprobe(file *link.Executable, pid int, u uprobe) (link.Link, error) {
	program, err := p.loader.get(u.program)
	if err != nil {
		return nil, err
	}
	if p.kernel.lacks.multi {
		attach := file.Uprobe
		if u.ret {
			attach = file.Uretprobe
		}
		return attach("", program, &link.UprobeOptions{Address: u.offset, PID: pid})
	}
	attach := file.UprobeMulti
	if u.ret {
		attach = file.UretprobeMulti
	}
	return attach(nil, program, &link.UprobeMultiOptions{Addresses: []uint64{u.offset}, PID: uint32(pid)})
}

// TryUprobe tells whether uprobes can be attached, by one on this very program where it has begun once and never will
// again.
func (p *Probe) TryUprobe() error {
	const self = "/proc/self/exe"
	entry, err := entryOffset(self)
	if err != nil {
		return err
	}
	file, err := link.OpenExecutable(self)
	if err != nil {
		return fmt.Errorf("open %s: %w", self, err)
	}
	l, err := p.attachUprobe(file, os.Getpid(), uprobe{program: "code_dealloc", offset: entry})
	if err != nil {
		return fmt.Errorf("attach uprobe to %s+%#x: %w", self, entry, err)
	}
	return l.Close()
}

// entryOffset is where in its file a program begins.
func entryOffset(path string) (uint64, error) {
	f, err := elf.Open(path)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && f.Entry >= p.Vaddr && f.Entry < p.Vaddr+p.Filesz {
			return f.Entry - p.Vaddr + p.Off, nil
		}
	}
	return 0, fmt.Errorf("read %s: its entry point lies in no segment", path)
}

// Release has what was attached for a process detached that has ended or runs another program now. It does not wait.
func (p *Probe) Release(pid int) {
	for on := onOthers; on <= onDeques; on++ {
		p.detach(attached{pid, on})
	}
}

// detach has uprobes detached later, and tells whether there are any.
func (p *Probe) detach(which attached) bool {
	links := p.uprobes[which]
	p.closer.take(links)
	delete(p.uprobes, which)
	return len(links) > 0
}

// closer closes links while others go on: of a server that replaces its workers under load it takes a tenth of a second for
// each, in which the ring buffer would fill.
type closer struct {
	links []link.Link
	mu    sync.Mutex
	work  sync.WaitGroup
	busy  bool
	log   zerolog.Logger
}

// How many links are closed side by side, and how many may wait for it.
const (
	closeBeside = 32
	closeLater  = 1024
)

// take closes links later, or at once where many wait already.
func (c *closer) take(links []link.Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) > closeLater {
		c.close(links)
		return
	}
	c.links = append(c.links, links...)
	if !c.busy && len(c.links) > 0 {
		c.busy = true
		c.work.Go(c.run)
	}
}

func (c *closer) run() {
	for {
		c.mu.Lock()
		n := min(len(c.links), closeBeside)
		links := slices.Clone(c.links[:n])
		c.links = slices.Delete(c.links, 0, n)
		c.busy = n > 0
		c.mu.Unlock()
		if n == 0 {
			return
		}
		c.close(links)
	}
}

func (c *closer) close(links []link.Link) {
	if err := closeAll(links); err != nil {
		c.log.Debug().Err(err).Msg("detach")
	}
}

// wait returns when all is closed that was taken.
func (c *closer) wait() { c.work.Wait() }

// closeAll closes links side by side: each waits until the kernel's other CPUs have left its program.
func closeAll(links []link.Link) error {
	errs := make([]error, len(links))
	var wait sync.WaitGroup
	for i, l := range links {
		wait.Go(func() { errs[i] = l.Close() })
	}
	wait.Wait()
	return errors.Join(errs...)
}
