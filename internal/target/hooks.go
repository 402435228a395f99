package target

import (
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// ProbeFile is a file of a process for uprobes to go on. It stays open, and reachable by Path, until it is closed, so
// that the file that is probed is the one that was read, whatever the process does to its paths and mappings meanwhile.
type ProbeFile struct {
	Path  string // below /proc/self/fd
	Inode uint64 // which file

	file *os.File
}

// Close lets go of the file. Probes that are attached by then stay.
func (f *ProbeFile) Close() error { return f.file.Close() }

// Asyncio tells where the module _asyncio, a shared object or built into the interpreter, makes tasks and steps them
// (CPython Modules/_asynciomodule.c). The functions begin with those offsets, in bytes from the start of the file, and
// their arguments are in the registers still.
type Asyncio struct {
	ProbeFile
	TaskInit uint64 // tp_init of Task(self, args, kwargs): the coroutine is kwargs["coro"] or the first of args
	TaskStep uint64 // tp_call of TaskStepMethWrapper(self, args, kwargs): the task follows self's head
	// TaskWakeup is task_wakeup(task, future), up to 3.9 the tp_call of TaskWakeupMethWrapper(self, args, kwargs), whose
	// task is there too.
	TaskWakeup uint64
	TaskSize   uint32 // Task's tp_basicsize, by which symbol.Layout.TaskCoroOf tells patch releases apart
}

// Greenlet tells where greenlets are created and where one leaves the C stack of its thread, in bytes from the start of
// the file.
type Greenlet struct {
	ProbeFile
	Init uint64 // tp_init of greenlet.greenlet(self, args, kwargs), which subclasses call too
	// Switch is greenlet::Greenlet::g_switchstack(), which greenlet 2.0 and later export. The thread's Python stack is
	// the leaving greenlet's at that moment.
	Switch uint64
	Old    bool // before 2.0: Switch is g_switch(target, args, kwargs)
}

const (
	asyncioModule  = "_asyncio"
	greenletModule = "_greenlet"
	oldGreenlet    = "greenlet" // before 1.0
	queueModule    = "_queue"
	geventQueue    = "_gevent_cqueue"
	greenletType   = "greenlet.greenlet"
	switchStack    = "_ZN8greenlet8Greenlet13g_switchstackEv"
)

// extension names the shared objects of a module: name.cpython-311-x86_64-linux-gnu.so, name.abi3.so, name.so.
var extension = regexp.MustCompile(`^(` + asyncioModule + `|` + greenletModule + `|` + oldGreenlet + `|` + queueModule + `|` + geventQueue + `|` + selectModule + `|` + dequeModule + `|` + uvloopModule + `)(\..+)?\.so$`)

// Modules are those of a Python process in which lanes begin and switch.
type Modules struct{ Asyncio, Greenlet, Queue, GeventQueue, Select, UVLoop bool }

// LaneModules tells from the mappings alone which of the modules' shared objects are loaded. What is built
// into the interpreter is not seen here: it is there from the start.
func LaneModules(maps []Mapping) (loaded Modules) {
	_, loaded.Asyncio = module(maps, asyncioModule)
	_, loaded.Greenlet = greenletIn(maps)
	_, loaded.Queue = module(maps, queueModule)
	_, loaded.GeventQueue = module(maps, geventQueue)
	_, loaded.Select = module(maps, selectModule)
	_, loaded.UVLoop = module(maps, uvloopModule)
	return loaded
}

// module gives the mapping of the code of a module's shared object.
func module(maps []Mapping, name string) (Mapping, bool) {
	for _, m := range maps {
		if !strings.Contains(m.Perm, "x") {
			continue
		}
		found := extension.FindStringSubmatch(path.Base(m.Path))
		if found != nil && found[1] == name && inPackage(m.Path, name) {
			return m, true
		}
	}
	return Mapping{}, false
}

// inPackage tells a module's shared object from one of that name in another package.
func inPackage(file, name string) bool {
	return name != uvloopModule || path.Base(path.Dir(file)) == uvloopPackage
}

// moduleOrImage gives the mapping of the interpreter where the module has no shared object: it may be built in.
func (p *Process) moduleOrImage(maps []Mapping, name string) (m Mapping, shared bool) {
	if m, shared = module(maps, name); !shared {
		m = p.Python.mapping
	}
	return m, shared
}

func greenletIn(maps []Mapping) (Mapping, bool) {
	if m, ok := module(maps, greenletModule); ok {
		return m, true
	}
	return module(maps, oldGreenlet)
}

var asyncioIn seen[*Asyncio] // nil: the file has none

// Asyncio finds the functions of _asyncio, which the caller must close. It gives nil where the module is not loaded,
// and an error where it cannot be read or is not as CPython has it.
func (p *Process) Asyncio() (*Asyncio, error) {
	maps, err := p.Mappings()
	if err != nil {
		return nil, err
	}
	m, shared := p.moduleOrImage(maps, asyncioModule)
	f, im, err := p.probeFile(m)
	if err != nil {
		return nil, err
	}
	found, err := asyncioIn.find(f.file, func() (*Asyncio, error) { return findAsyncio(im) })
	if err == nil && found != nil {
		a := *found
		a.ProbeFile = f
		return &a, nil
	}
	f.Close()
	if err == nil && shared {
		err = errNoTask
	}
	if err != nil {
		return nil, fmt.Errorf("find asyncio's tasks in %s of process %d: %w", m.Path, p.PID, err)
	}
	return nil, nil
}

// Greenlet finds where greenlets switch, which the caller must close. It gives nil where greenlet is not loaded, and an
// error where it cannot be read, or is older than 2.0 and not told.
func (p *Process) Greenlet() (*Greenlet, error) {
	maps, err := p.Mappings()
	if err != nil {
		return nil, err
	}
	m, ok := greenletIn(maps)
	if !ok {
		return nil, nil
	}
	f, im, err := p.probeFile(m)
	if err != nil {
		return nil, err
	}
	g := &Greenlet{ProbeFile: f}
	if g.Init, g.Switch, g.Old, err = findGreenlet(im); err != nil {
		f.Close()
		return nil, fmt.Errorf("find greenlet's switch in %s of process %d: %w: use greenlet 2.0 or newer", m.Path, p.PID, err)
	}
	return g, nil
}

func findGreenlet(im *image) (create, leave uint64, old bool, err error) {
	p, err := im.pointers()
	if err != nil {
		return 0, 0, false, err
	}
	types := p.toNames(greenletType)[greenletType]
	create, created := only(p.functions(types, tpInit))
	leave, known := im.entry(im.lookup(switchStack)[switchStack].addr)
	if !known {
		leave, known = p.oldSwitch(types)
		old = true
	}
	if !created || !known {
		return 0, 0, false, errors.New("no tp_init of " + greenletType + ", or neither Greenlet::g_switchstack nor g_switch")
	}
	return create, leave, old, nil
}

// oldSwitch finds g_switch, which greenlet's method switch calls first.
func (p *pointers) oldSwitch(types []uint64) (offset uint64, found bool) {
	const size = 80 // bytes of the method that are looked at
	method, found := p.method(types, entryOf("switch"))
	if !found {
		return 0, false
	}
	inner := p.im.callee(extent{p.im.addr(method), size})
	if inner == 0 || !p.im.pushes(inner) {
		return 0, false
	}
	return p.im.entry(inner)
}

// probeFile opens the file behind a mapping. What is mapped of it would not do where the file is gone: probes go on
// files, and what goes on a file that other processes share must not be told by the memory of one.
func (p *Process) probeFile(m Mapping) (f ProbeFile, im *image, err error) {
	file, err := p.openMapping(m)
	if err != nil {
		return f, nil, err
	}
	var st unix.Stat_t
	if im, err = openImage(file); err == nil {
		err = unix.Fstat(int(file.Fd()), &st)
	}
	if err != nil {
		file.Close()
		return f, nil, fmt.Errorf("read %s of process %d: %w", m.Path, p.PID, err)
	}
	return ProbeFile{fmt.Sprintf("/proc/self/fd/%d", file.Fd()), st.Ino, file}, im, nil
}
