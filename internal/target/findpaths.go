package target

import (
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of what is read from the target's files.
const (
	maxPaths     = 256
	maxPathsFile = 64 << 10
)

// findPaths works out the module search path as CPython's getpath does (Modules/getpath.py), from the interpreter's own
// place, virtual environment, environment, arguments and .pth files.
func (p *Process) findPaths(env map[string]string) *Paths {
	f := pathFinder{Process: p, env: env, out: &Paths{
		Dir: p.Dir, scripts: map[string]bool{}, parts: map[string]bool{}, installs: map[string]map[string]bool{},
	}}
	f.out.exists, f.out.recorded = f.exists, f.recorded
	f.folder = fmt.Sprintf("python%d.%d", p.Python.Major, p.Python.Minor)
	if p.Python.FreeThreaded {
		f.folder += "t"
	}
	f.findBundle()
	f.findLib()
	f.findSite()
	f.findSearch()
	f.findSame()
	return f.out
}

// findBundle takes where a program has its modules that PyInstaller has made, or cx_Freeze.
func (f *pathFinder) findBundle() {
	dir := path.Dir(f.Python.Image)
	for _, library := range []string{dir + "/base_library.zip", dir + "/library.zip", dir + "/lib/library.zip"} {
		if f.exists(library) {
			f.out.bundle = path.Dir(library)
			f.addSearch(f.out.bundle)
			return
		}
	}
}

type pathFinder struct {
	*Process
	env    map[string]string
	folder string // "python3.11"
	out    *Paths
}

// findLib climbs from the interpreter to the directory that holds lib/python3.x/os.py.
func (f *pathFinder) findLib() {
	starts := []string{path.Dir(f.Exe), path.Dir(f.Python.Image)}
	if home := f.env["PYTHONHOME"]; home != "" {
		starts = append(starts, home)
	}
	for _, venv := range f.venvs() {
		if home := f.venvHome(venv); home != "" {
			starts = append(starts, home)
		}
	}
	for _, dir := range starts {
		for range 8 {
			if f.addLib(dir) || dir == "/" || dir == "." {
				break
			}
			dir = path.Dir(dir)
		}
	}
}

// addLib takes the standard library below prefix, if it is there.
func (f *pathFinder) addLib(prefix string) bool {
	found := false
	for _, lib := range []string{"lib", "lib64"} {
		dir := path.Join(prefix, lib, f.folder)
		if f.exists(path.Join(dir, "os.py")) {
			f.out.Lib = add(f.out.Lib, dir, path.Join(dir, "lib-dynload"))
			found = true
		}
		if zip := path.Join(prefix, lib, strings.ReplaceAll(f.folder, ".", "")+".zip"); f.exists(zip) {
			f.out.Lib = add(f.out.Lib, zip)
			found = true
		}
	}
	if found {
		f.out.scripts[path.Join(prefix, "bin")] = true
	}
	return found
}

// findSite takes the directories of installed packages that exist.
func (f *pathFinder) findSite() {
	prefixes := f.venvs()
	for _, lib := range f.out.Lib {
		prefixes = append(prefixes, path.Dir(path.Dir(lib)))
	}
	if home := f.env["HOME"]; path.IsAbs(home) {
		prefixes = append(prefixes, path.Join(home, ".local"))
	}
	for _, prefix := range add(prefixes, "/usr/local") {
		f.out.scripts[path.Join(prefix, "bin")] = true
		for _, lib := range []string{"lib", "lib64"} {
			for _, dir := range []string{f.folder + "/site-packages", f.folder + "/dist-packages", "python3/dist-packages"} {
				if dir = path.Join(prefix, lib, dir); f.exists(dir) {
					f.out.Site = add(f.out.Site, dir)
				}
			}
		}
	}
}

// venvs gives the virtual environments that the process may run in.
func (f *pathFinder) venvs() []string {
	var out []string
	starts := []string{path.Dir(path.Dir(f.Exe)), f.env["VIRTUAL_ENV"]}
	if len(f.Cmdline) > 0 && strings.Contains(f.Cmdline[0], "/") {
		starts = append(starts, path.Dir(path.Dir(f.out.absolute(f.Cmdline[0]))))
	}
	for _, prefix := range starts {
		if path.IsAbs(prefix) && f.exists(prefix+"/pyvenv.cfg") {
			out = add(out, path.Clean(prefix))
		}
	}
	return out
}

// venvHome gives the directory of the interpreter that a virtual environment was made from.
func (f *pathFinder) venvHome(prefix string) string {
	for line := range strings.Lines(f.text(prefix + "/pyvenv.cfg")) {
		if name, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == "home" {
			return strings.Clone(strings.TrimSpace(value))
		}
	}
	return ""
}

// findSearch takes what the environment, the command line and .pth files add to the search path.
func (f *pathFinder) findSearch() {
	for dir := range strings.SplitSeq(f.env["PYTHONPATH"], ":") {
		f.addSearch(dir)
	}
	if len(f.Cmdline) > 0 && isPython(f.Exe) {
		run := parsePython(f.Cmdline[1:])
		if run.script != "" && run.script != "-" {
			f.addSearch(path.Dir(run.script))
			f.addSearch(run.script) // a directory or zip file with a __main__.py
		}
		for i, arg := range run.args {
			for _, option := range []string{"--app-dir", "--pythonpath", "--chdir"} {
				if value, ok := strings.CutPrefix(arg, option+"="); ok {
					f.addSearch(value)
				} else if arg == option && i+1 < len(run.args) {
					f.addSearch(run.args[i+1])
				}
			}
		}
	}
	for _, site := range f.out.Site {
		f.readPth(site)
	}
}

// findSame takes the names of the working directory that files may be told by: a service that was started in
// /srv/current, a link to /srv/releases/42, or looks for modules below it, tells its files so.
func (f *pathFinder) findSame() {
	dir, ok := f.place(f.Dir)
	if !ok || f.Dir == "/" {
		return
	}
	for _, name := range append([]string{f.env["PWD"]}, f.out.search...) {
		for ; path.IsAbs(name) && name != "/"; name = path.Dir(name) {
			if at, ok := f.place(name); ok && at == dir && path.Clean(name) != f.Dir {
				f.out.Same = add(f.out.Same, path.Clean(name))
			}
		}
	}
}

// place tells which directory or file a path leads to.
func (f *pathFinder) place(name string) (at [2]uint64, ok bool) {
	fd, err := f.fs.openIn(f.PID, name, unix.O_PATH)
	if err != nil {
		return at, false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return [2]uint64{st.Dev, st.Ino}, err == nil
}

func (f *pathFinder) addSearch(dir string) {
	if dir != "" && len(f.out.search) < maxPaths {
		f.out.search = add(f.out.search, f.out.absolute(dir))
	}
}

// readPth takes the directories that the .pth files of a site directory name (CPython Lib/site.py, addpackage): that is
// how editable installs are found.
func (f *pathFinder) readPth(site string) {
	names, err := f.list(site)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, "__editable__") && strings.HasSuffix(name, "_finder.py") {
			f.readFinder(path.Join(site, name))
		}
		if !strings.HasSuffix(name, ".pth") {
			continue
		}
		for line := range strings.Lines(f.text(path.Join(site, name))) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "import ") || strings.HasPrefix(line, "import\t") {
				continue
			}
			if path.IsAbs(line) && f.exists(line) {
				f.addSearch(line)
			}
		}
	}
}

// recorded gives the packages and modules that were installed into a directory, by the RECORD of each distribution there
// (packaging.python.org, "Recording installed projects"). Those of a server's next workers are the same.
func (f *pathFinder) recorded(dir string) map[string]bool {
	fd, err := f.fs.openIn(f.PID, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	file := os.NewFile(uintptr(fd), dir)
	defer file.Close()
	tops, err := recordedIn.find(file, func() (map[string]bool, error) { return f.readRecords(dir) })
	if err != nil {
		return nil
	}
	return tops
}

var recordedIn seen[map[string]bool]

func (f *pathFinder) readRecords(dir string) (tops map[string]bool, err error) {
	names, err := f.list(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".dist-info") {
			continue
		}
		for line := range strings.Lines(f.text(path.Join(dir, name, "RECORD"))) {
			file, _, _ := strings.Cut(line, ",")
			top, _, _ := strings.Cut(file, "/")
			if tops == nil {
				tops = map[string]bool{}
			}
			if !tops[top] {
				tops[strings.Clone(top)] = true // the whole text would be kept else
			}
		}
	}
	return tops, nil
}

// mapped is an entry of a finder's MAPPING: a package or module and where it lies.
var mapped = regexp.MustCompile(`'([\w.]+)': '(/[^'\\]+)'`)

// readFinder takes where the packages of an editable install lie that setuptools finds by a hook of its own (setuptools
// command/editable_wheel.py).
func (f *pathFinder) readFinder(name string) {
	for line := range strings.Lines(f.text(name)) {
		if !strings.HasPrefix(line, "MAPPING") {
			continue
		}
		for _, entry := range mapped.FindAllStringSubmatch(line, maxPaths) {
			if dir, ok := strings.CutSuffix(entry[2], "/"+strings.ReplaceAll(entry[1], ".", "/")); ok && f.exists(dir) {
				f.addSearch(dir)
			}
		}
	}
}

// text gives the beginning of a file, "" where it can't be read.
func (f *pathFinder) text(name string) string {
	file, err := f.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPathsFile))
	if err != nil {
		return ""
	}
	return string(text)
}

// exists tells whether a path leads anywhere inside the target's root.
func (f *pathFinder) exists(name string) bool {
	fd, err := f.fs.openIn(f.PID, name, unix.O_PATH)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// list gives the names in a directory, not more than are worth looking at.
func (f *pathFinder) list(name string) ([]string, error) {
	fd, err := f.fs.openIn(f.PID, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	names, err := dir.Readdirnames(64 * maxPaths)
	slices.Sort(names)
	return names, err
}

// add appends what is not in the list yet.
func add(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
