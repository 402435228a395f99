package probe

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// PythonLayout is what the kernel programs need to walk the stacks of one CPython version: offsets in
// bytes, all bits set where there is none.
type PythonLayout = apmPyLayout

// PythonTypes are the addresses in a process of the types of what has names and of what suspended coroutines are made of.
type PythonTypes = apmPyTypes

// How a generator that awaits is told from one that stands at a plain yield, from bpf/target.bpf.h.
const (
	AwaitByOpcode = uint32(apmAwaitToldByAWAIT_BY_OPCODE) // up to 3.10
	AwaitByResume = uint32(apmAwaitToldByAWAIT_BY_RESUME) // 3.11, 3.12
	AwaitByState  = uint32(apmAwaitToldByAWAIT_BY_STATE)  // 3.13

	AwaitByPointer           = uint32(apmAwaitToldByAWAIT_BY_POINTER)            // 3.14
	AwaitByPointerRenumbered = uint32(apmAwaitToldByAWAIT_BY_POINTER_RENUMBERED) // 3.15
)

// Python is what the kernel programs need to know of a CPython process.
type Python struct {
	Runtime, RuntimeEnd uint64 // extent of _PyRuntime
	GIL                 uint64 // the interpreter lock's condition variable where its waiters wait elsewhere; 0 where not
	Unset, UnsetEnd     uint64 // instructions in which a thread's stack cannot be told; 0 where none are known
	Layout              PythonLayout
	Types               PythonTypes
	SeesCodeEnd         bool // AttachCode was called for its interpreter
	Lines               bool // Instr of its frames is wanted
}

// AddPython makes a CPython process a target. Its children become targets by themselves.
func (p *Probe) AddPython(pid int, py Python) error {
	t := apmTarget{
		PyRuntime:    py.Runtime,
		PyRuntimeEnd: py.RuntimeEnd,
		PyGil:        py.GIL,
		PyUnset:      py.Unset,
		PyUnsetEnd:   py.UnsetEnd,
		Runtime:      uint32(apmRuntimeRUNTIME_PYTHON),
		Py:           py.Layout,
		PyTypes:      py.Types,
		Scopes:       uint32(apmScopesForSCOPES_FIRST),
	}
	if py.Lines {
		t.Lines = 1
	}
	if !py.SeesCodeEnd {
		t.Life = uint32(apmLifeLIFE_BLIND)
	}
	return p.add(pid, t)
}

// GoLayout is what the kernel programs need to find the goroutine on a thread of one Go version: offsets in bytes.
type GoLayout = apmGoLayout

// tellCoroutine corrects where a task of a process keeps its coroutine, which its module tells. What the kernel programs
// count in these microseconds is forgotten.
func (p *Probe) tellCoroutine(pid int, offset uint32) error {
	var t apmTarget
	err := p.objects.Targets.Lookup(uint32(pid), &t)
	if err == nil && t.Py.TaskCoro != offset {
		t.Py.TaskCoro = offset
		err = p.objects.Targets.Update(uint32(pid), t, ebpf.UpdateExist)
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		err = unix.ESRCH
	}
	if err != nil {
		return fmt.Errorf("tell how the tasks of process %d are laid out: %w", pid, err)
	}
	return nil
}

// AddGo makes a Go process a target. Its children become targets by themselves.
func (p *Probe) AddGo(pid int, layout GoLayout) error {
	return p.add(pid, apmTarget{Runtime: uint32(apmRuntimeRUNTIME_GO), Go: layout})
}

// GoStretch is for how many bytes of code GoDepth tells.
const GoStretch = 16

// GoDepth tells how far the stack pointer of a Go process is below the return address, bytes, in a stretch of code that
// begins at a multiple of GoStretch and uses the frame pointer for other things.
func (p *Probe) GoDepth(pid int, code uint64, depth uint32) error {
	place := apmGoPlace{Code: code / GoStretch, Pid: uint32(pid)}
	if err := p.objects.GoDepths.Put(place, depth); err != nil {
		return fmt.Errorf("tell a depth of process %d: %w", pid, err)
	}
	return nil
}

// FollowGoroutine has the kernel programs tell when a goroutine leaves its CPU with its thread, as they do of those that serve
// requests, if there is memory for one more.
func (p *Probe) FollowGoroutine(pid int, goroutine uint64) {
	key := apmGoroutineKey{Goroutine: goroutine, Pid: uint32(pid)}
	_ = p.objects.GoServing.Update(key, uint64(0), ebpf.UpdateNoExist) // it may serve a request, too
}

// add makes a process a target that samples as it is configured to.
func (p *Probe) add(pid int, t apmTarget) error {
	t.SampleEvery = max(p.config.SampleEvery, 1)
	p.lives++
	t.Life |= p.lives
	var before apmTarget // where it was forked by a target, or has run another program
	if p.objects.Targets.Lookup(uint32(pid), &before) == nil {
		t.Requests = before.Requests
	}
	if err := p.addListeners(pid); err != nil {
		return err
	}
	return p.put(pid, t, ebpf.UpdateAny)
}

// put has the kernel programs know a process.
func (p *Probe) put(pid int, t apmTarget, flags ebpf.MapUpdateFlags) error {
	if err := p.objects.Watched.Put(uint32(pid)%p.objects.Watched.MaxEntries(), uint8(1)); err != nil {
		return fmt.Errorf("watch process %d: %w", pid, err)
	}
	if err := p.objects.Targets.Update(uint32(pid), t, flags); err != nil {
		return fmt.Errorf("add process %d: %w", pid, err)
	}
	return nil
}

// addListeners tells the kernel programs on which TCP ports the network namespace of a process listens. Ports opened later
// they see themselves.
func (p *Probe) addListeners(pid int) error {
	net, err := NetNamespace(pid)
	if err != nil {
		return err
	}
	listeners, err := listenersOf(pid, net)
	if err != nil {
		return err
	}
	return p.putListeners(slices.Values(listeners))
}

// putListeners puts those that fit, and tells once if some do not.
func (p *Probe) putListeners(listeners iter.Seq[apmListener]) error {
	for l := range listeners {
		err := p.objects.Listeners.Put(l, uint8(1))
		switch {
		case err == nil:
			delete(p.unheard, l)
		case !errors.Is(err, unix.E2BIG):
			return fmt.Errorf("add listening port %d: %w", l.Port, err)
		default:
			if len(p.unheard) == 0 {
				p.config.Log.Warn().Uint32("port", l.Port).Uint32("most", p.objects.Listeners.MaxEntries()).
					Msg("requests that arrive at this port, and maybe at others, are not recorded: its machine or container listens on too many")
			}
			p.unheard[l] = true
		}
	}
	return nil
}

// SweepListeners takes back the ports where nobody listens any more, once there are many: until then it does no harm that
// who connects from one to elsewhere is asked for requests. What is opened meanwhile is added again.
func (p *Probe) SweepListeners() error {
	var known []apmListener
	var l apmListener
	var is uint8
	for all := p.objects.Listeners.Iterate(); all.Next(&l, &is); {
		known = append(known, l)
	}
	if len(known) < int(p.objects.Listeners.MaxEntries())/2 {
		return nil
	}
	there := p.listening()
	for _, l := range known {
		if there[l] {
			continue
		}
		if err := p.objects.Listeners.Delete(l); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("take back listening port %d: %w", l.Port, err)
		}
	}
	return p.putListeners(maps.Keys(p.listening()))
}

// listening gives the ports that the network namespaces of all targets listen on now.
func (p *Probe) listening() map[apmListener]bool {
	there, read := map[apmListener]bool{}, map[uint32]bool{}
	var pid uint32
	var t apmTarget
	for all := p.objects.Targets.Iterate(); all.Next(&pid, &t); {
		net, err := NetNamespace(int(pid))
		if err != nil || read[net] {
			continue // it has ended, or shares what another has
		}
		listeners, err := listenersOf(int(pid), net)
		read[net] = err == nil
		for _, l := range listeners {
			there[l] = true
		}
	}
	return there
}

// listenersOf gives the TCP ports on which the network namespace of a process listens.
func listenersOf(pid int, net uint32) (listeners []apmListener, err error) {
	for _, table := range []string{"tcp", "tcp6"} {
		ports, err := listeningPorts(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			return nil, err
		}
		for _, port := range ports {
			listeners = append(listeners, apmListener{Net: net, Port: uint32(port)})
		}
	}
	return listeners, nil
}

// NetNamespace gives the number of the network namespace of a process.
func NetNamespace(pid int) (uint32, error) {
	var st unix.Stat_t
	path := fmt.Sprintf("/proc/%d/ns/net", pid)
	err := unix.Stat(path, &st)
	if err == unix.ENOENT { // which it leaves as it ends
		err = unix.ESRCH
	}
	if err != nil {
		return 0, fmt.Errorf("read network namespace %s: %w", path, err)
	}
	return uint32(st.Ino), nil
}

// listeningPorts reads a table of sockets (net/ipv4/tcp_ipv4.c, tcp4_seq_show). It begins with those that listen, among
// which one may be closing; the connections behind them may be many. A missing table, as tcp6 on a machine without IPv6,
// has none.
func listeningPorts(path string) (ports []uint16, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read listening ports: %w", err)
	}
	defer f.Close()
	const listen, closing = "0A", "07"
	lines := bufio.NewScanner(f)
	lines.Scan() // the head
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] == closing {
			continue
		}
		if fields[3] != listen {
			break
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil {
			ports = append(ports, uint16(port))
		}
	}
	return ports, lines.Err()
}

// Follow has the kernel programs watch a process for children and for exec, but record nothing of it.
func (p *Probe) Follow(pid int) error {
	none := apmTarget{Runtime: uint32(apmRuntimeRUNTIME_NONE), SampleEvery: max(p.config.SampleEvery, 1)}
	if err := p.put(pid, none, ebpf.UpdateNoExist); !errors.Is(err, ebpf.ErrKeyExist) {
		return err
	}
	return nil
}

// How many bytes of a frame and of a thread state the kernel programs can read, from bpf/python.bpf.h.
const (
	FrameSizeMax  = uint32(apmReadSizeFRAME_SIZE_MAX)
	ThreadSizeMax = uint32(apmReadSizeTHREAD_SIZE_MAX)
)

// Targets tells what the kernel programs know of processes: of each that is a target whether it has run another program
// since it was added, and whether it has served TLS.
func (p *Probe) Targets(yield func(pid int, execed, tls bool)) error {
	var pid uint32
	var t apmTarget
	all := p.objects.Targets.Iterate()
	for all.Next(&pid, &t) {
		yield(int(pid), t.Runtime == uint32(apmRuntimeRUNTIME_NONE), t.Tls != 0)
	}
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // many have ended meanwhile
		return fmt.Errorf("list targets: %w", err)
	}
	return nil
}

// Drop ends that a process is a target, where the kernel programs missed its end.
func (p *Probe) Drop(pid int) error {
	if err := p.objects.Targets.Delete(uint32(pid)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("drop process %d: %w", pid, err)
	}
	return nil
}
