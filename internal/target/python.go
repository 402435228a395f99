package target

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"

	"golang.org/x/sys/unix"
)

// Python is the CPython runtime of a process.
type Python struct {
	Major, Minor, Micro int
	Image               string // path, inside the target's root, of the file that has _PyRuntime
	Bias                uint64 // load bias of Image
	Runtime, RuntimeEnd uint64 // extent of _PyRuntime in the process, in 3.6 of the variables of Image
	CodeType, StrType   uint64 // addresses of PyCode_Type and PyUnicode_Type; 0 where Image does not tell them
	Interpreters        uint64 // address of _PyRuntime.interpreters.head, in 3.6 of interp_head
	FreeThreaded        bool   // built without the interpreter lock (--disable-gil), 3.13 and later

	mapping Mapping
}

// The minor versions of Python 3 that are known; internal/symbol has a layout of each. A newer one is profiled if what it
// tells of its own layout is enough.
const (
	FirstMinor = 6
	LastMinor  = 15
)

// Version is as Python writes it: "3.11.2".
func (py *Python) Version() string { return fmt.Sprintf("%d.%d.%d", py.Major, py.Minor, py.Micro) }

// header gives the size of an object's head, PyObject (CPython Include/object.h).
func (py *Python) header() uint64 {
	if py.FreeThreaded {
		return 32
	}
	return 16
}

var (
	libpython  = regexp.MustCompile(`^libpython3(\.|$|m)`)
	pythonName = regexp.MustCompile(`python3\.([0-9]{1,3})`)
)

// findPython looks for _PyRuntime in the mapped libpython, then in the executable, then in whatever else is mapped. Where
// several have one, only one is in use: an executable's own goes before that of a libpython that extension modules bring.
func (p *Process) findPython(maps []Mapping) (*Python, error) {
	tried := map[string]bool{}
	var unused error
	for _, m := range candidates(maps, p.Exe) {
		py, err := p.findIn(m)
		if !errors.Is(err, ErrNotReady) && (py != nil || err != nil) {
			return py, err
		}
		unused = cmp.Or(unused, err)
		tried[m.Path] = true
	}
	if unused != nil {
		if py, err := p.findBare(maps); err == nil && py != nil {
			return py, nil
		}
		return nil, unused
	}
	exe, err := p.openExe()
	if err != nil {
		return nil, p.unsupported(maps)
	}
	defer exe.close()
	if !tried[p.Exe] && len(exe.lookup("_PyRuntime")) > 0 { // exec has named it, and not mapped it yet
		return nil, p.notReady("its executable is not mapped")
	}
	for _, name := range exe.dynamic().libraries() {
		if libpython.MatchString(name) && !mapsLibpython(maps) {
			return nil, p.notReady(name + " is not mapped")
		}
	}
	if py, err := p.findInPlugin(maps, tried); py != nil || err != nil {
		return py, err
	}
	return nil, p.unsupported(maps)
}

// findIn describes the interpreter of a mapped file; nil where it has none that its symbols tell of.
func (p *Process) findIn(m Mapping) (*Python, error) {
	im, err := p.image(m)
	if err != nil {
		return nil, err
	}
	defer im.close()
	symbols := im.lookup("_PyRuntime", "Py_Version", "PyCode_Type", "PyUnicode_Type", interpHead)
	if symbols["_PyRuntime"].addr == 0 && !im.is36(m, symbols) {
		return nil, nil
	}
	return p.describe(m, im, symbols)
}

// maxPlugins bounds how many libraries are asked whether they have an interpreter.
const maxPlugins = 512

// findInPlugin describes an interpreter that a library of another name has linked in, and exports.
func (p *Process) findInPlugin(maps []Mapping, tried map[string]bool) (*Python, error) {
	for _, m := range maps {
		if m.Offset != 0 || tried[m.Path] || len(tried) > maxPlugins {
			continue
		}
		tried[m.Path] = true
		im, err := p.image(m)
		if err != nil { // a file of data
			continue
		}
		_, found := im.dynamic().lookup("_PyRuntime")
		im.close()
		if found {
			return p.findIn(m)
		}
	}
	return nil, nil
}

func (p *Process) notReady(why string) error {
	return fmt.Errorf("inspect process %d: %w: %s", p.PID, ErrNotReady, why)
}

func (p *Process) openExe() (*image, error) {
	f, err := os.Open(p.fs.path(p.PID, "exe"))
	if err != nil {
		return nil, fmt.Errorf("open the executable of process %d: %w", p.PID, procError(err))
	}
	im, err := openImage(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	im.under = f
	return im, nil
}

// candidates gives the first mappings of the files that may have _PyRuntime.
func candidates(maps []Mapping, exe string) []Mapping {
	var libs, exes []Mapping
	seen := map[string]bool{}
	for _, m := range maps {
		if m.Offset != 0 || seen[m.Path] {
			continue
		}
		switch {
		case libpython.MatchString(path.Base(m.Path)):
			libs = append(libs, m)
		case m.Path == exe:
			exes = append(exes, m)
		default:
			continue
		}
		seen[m.Path] = true
	}
	return append(libs, exes...)
}

func mapsLibpython(maps []Mapping) bool {
	for _, m := range maps {
		if libpython.MatchString(path.Base(m.Path)) {
			return true
		}
	}
	return false
}

// image opens the file behind a mapping, else what is mapped of it.
func (p *Process) image(m Mapping) (*image, error) {
	f, err := p.openMapping(m)
	if err != nil {
		im, memErr := openMemoryImage(Memory(p.PID), m.Start)
		if memErr != nil {
			return nil, fmt.Errorf("%w (nor can it be read from memory: %w)", err, memErr)
		}
		return im, nil
	}
	im, err := openImage(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s of process %d: %w", m.Path, p.PID, err)
	}
	im.under = f
	return im, nil
}

// describe fills in the runtime, by its symbols, and checks that it has started.
func (p *Process) describe(m Mapping, im *image, symbols map[string]extent) (*Python, error) {
	py := &Python{Image: m.Path, Bias: im.biasAt(m.Start), mapping: m}
	py.Runtime = symbols["_PyRuntime"].addr + py.Bias
	py.RuntimeEnd = py.Runtime + symbols["_PyRuntime"].size
	if symbols["_PyRuntime"].addr == 0 {
		head, variables, _ := im.oldRuntime(symbols[interpHead].addr)
		py.Interpreters = head + py.Bias
		py.Runtime, py.RuntimeEnd = variables.addr+py.Bias, variables.addr+variables.size+py.Bias
	}
	py.readVersion(im, symbols["Py_Version"], path.Base(m.Path))
	if py.Major != 3 || py.Minor < FirstMinor {
		return nil, &Unsupported{PID: p.PID, What: fmt.Sprintf("CPython %d.%d (%s)", py.Major, py.Minor, m.Path)}
	}
	if py.Interpreters == 0 {
		var err error
		if py.Interpreters, err = p.interpreters(py); err != nil {
			return nil, err
		}
	}
	code, str := symbols["PyCode_Type"].addr, symbols["PyUnicode_Type"].addr
	if code == 0 || str == 0 {
		var err error
		if code, str, err = im.codeTypes(py.header()); err != nil {
			return nil, fmt.Errorf("find types in %s of process %d: %w", m.Path, p.PID, err)
		}
	}
	py.setTypes(code, str)
	return py, p.started(py)
}

// setTypes takes the addresses in the image of PyCode_Type and PyUnicode_Type, if both are known.
func (py *Python) setTypes(code, str uint64) {
	if code != 0 && str != 0 {
		py.CodeType, py.StrType = code+py.Bias, str+py.Bias
	}
}

// started tells whether there is an interpreter.
func (p *Process) started(py *Python) error {
	first, err := Memory(p.PID).word(py.Interpreters)
	switch {
	case errors.Is(err, unix.EFAULT):
		return p.notReady("_PyRuntime is not mapped")
	case err != nil:
		return err
	case first == 0:
		return p.notReady("it has no interpreter")
	}
	return nil
}

// interpreters gives the address of _PyRuntime.interpreters.head (CPython Include/internal/pycore_runtime.h). From 3.13
// on the process tells where: it is word 5 of _Py_DebugOffsets, and word 2 tells whether the build is free-threaded.
func (p *Process) interpreters(py *Python) (uint64, error) {
	if py.Minor <= 12 {
		return py.Runtime + headOffset(py.Minor), nil
	}
	var raw [6 * 8]byte
	err := Memory(p.PID).Read(raw[:], py.Runtime)
	// While the dynamic linker maps the image, other parts of the file lie here.
	if errors.Is(err, unix.EFAULT) || err == nil && string(raw[:8]) != "xdebugpy" {
		return 0, p.notReady("_PyRuntime is not mapped")
	}
	if err != nil {
		return 0, err
	}
	offset := binary.LittleEndian.Uint64(raw[5*8:])
	if offset == 0 || offset >= py.RuntimeEnd-py.Runtime {
		return 0, fmt.Errorf("inspect process %d: interpreters.head at %d is outside of _PyRuntime", p.PID, offset)
	}
	py.FreeThreaded = binary.LittleEndian.Uint64(raw[2*8:]) != 0
	return py.Runtime + offset, nil
}

// headOffset gives where _PyRuntime has interpreters.head in 3.7 to 3.12.
func headOffset(minor int) uint64 {
	switch {
	case minor == 7:
		return 24
	case minor <= 10:
		return 32
	}
	return 40
}

func (m Memory) word(addr uint64) (uint64, error) {
	var b [8]byte
	err := m.Read(b[:], addr)
	return binary.LittleEndian.Uint64(b[:]), err
}
