package target

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Paths tells which source files of a Python process are the application's own and how Python's module search path
// shortens their names. It may be used by several goroutines.
type Paths struct {
	Dir  string   // working directory
	Same []string // other names of Dir, by which links lead there
	Lib  []string // the standard library: directories and zip files
	Site []string // directories of installed packages

	bundle   string                           // where PyInstaller's program has its modules, or cx_Freeze's, which it may name relative to that; "": it is none
	search   []string                         // other entries of the module search path
	exists   func(name string) bool           // whether the target has such a file; nil: it has none
	recorded func(dir string) map[string]bool // what was installed into a directory; nil: nothing
	mu       sync.Mutex                       // guards what follows
	scripts  map[string]bool                  // directories of installed commands
	parts    map[string]bool                  // directories of packages: they have an __init__.py
	installs map[string]map[string]bool       // modules and packages by the directory into which they were installed
}

// installed marks the directories that hold installed packages and nothing else, wherever they lie. PEX unpacks each wheel
// into a directory of its name.
var installed = regexp.MustCompile(`^.*/((site|dist)-packages|[^/]+\.(whl|egg))(/|$)`)

// archive marks files of modules, which are entries of the module search path by themselves.
var archive = regexp.MustCompile(`^.*/[^/]+\.(zip|pyz|pex|par)/`)

// IsApp tells whether a file, by its co_filename, is neither the standard library nor an installed package or command.
// Code typed or built at run time (<string>, <script>, <stdin>, <ipython-input-…>) is the application's, other code without a file
// (<frozen importlib._bootstrap>, <__array_function__ internals>) is not.
func (p *Paths) IsApp(file string) bool {
	if strings.HasPrefix(file, "<") {
		return file == "<string>" || file == "<script>" || file == "<stdin>" || strings.HasPrefix(file, "<ipython-input-")
	}
	if file == "" {
		return false
	}
	if p.bundle != "" && !path.IsAbs(file) {
		top, _, _ := strings.Cut(file, "/")
		if standard[strings.TrimSuffix(top, ".py")] {
			return false
		}
	}
	file = p.source(file)
	if installed.MatchString(file) || p.command(file) || p.installRoot(file) != "" {
		return false
	}
	for _, dir := range slices.Concat(p.Lib, p.Site) {
		if under(file, dir) {
			return false
		}
	}
	return p.guessedLib(file) == 0
}

// library is the shape of a standard library's path.
var library = regexp.MustCompile(`/lib(64)?/python3\.?[0-9]+t?(\.zip)?/`)

// guessedLib gives the length of the directory, with its slash, of what looks like a standard library, where the search
// path leads to nothing below that; 0 where there is none. It stands in for Lib where that was not found, or another
// was, as after an upgrade that has removed what the process still uses.
func (p *Paths) guessedLib(file string) int {
	at := library.FindStringIndex(file)
	if at == nil {
		return 0
	}
	for _, dir := range slices.Concat(p.search, p.Same, []string{p.Dir}) {
		if len(dir) >= at[1]-1 && under(file, dir) {
			return 0
		}
	}
	return at[1]
}

// Short gives a file relative to the longest entry of the module search path that contains it. A program may add entries
// while it runs: a file below none that is known is told relative to its archive or to what its outermost package lies in.
// Others, and code without a file, keep their name.
func (p *Paths) Short(file string) string {
	if file == "" || strings.HasPrefix(file, "<") {
		return file
	}
	full := p.source(file)
	if p.command(full) {
		return path.Base(full)
	}
	best := 0
	if at := installed.FindStringIndex(full); at != nil && at[1] < len(full) {
		best = at[1]
	}
	for _, dir := range slices.Concat(p.search, p.Lib, p.Site, p.Same, []string{p.Dir}) {
		if under(full, dir) {
			best = max(best, len(dir)+1)
		}
	}
	best = max(best, p.guessedLib(full))
	if root := p.installRoot(full); root != "" {
		best = max(best, len(root)+1)
	}
	if at := archive.FindStringIndex(full); at != nil {
		best = max(best, at[1])
	}
	if best == 0 {
		best = p.packageRoot(full)
	}
	if best == 0 {
		return file
	}
	return full[best:]
}

// packageRoot gives the length of the directory, with its slash, that holds the outermost package of a module; 0 for a
// module without a package.
func (p *Paths) packageRoot(file string) int {
	root := 0
	for dir := path.Dir(file); len(dir) > 1 && p.isPackage(dir); dir = path.Dir(dir) {
		root = len(path.Dir(dir)) + 1
	}
	return root
}

// installRoot gives the directory outside of Site into which a file was installed, as pip install --target does; "" where
// it was not.
func (p *Paths) installRoot(file string) string {
	roots := []string{path.Dir(file)}
	if at := p.packageRoot(file); at > 0 {
		roots[0] = path.Clean(file[:at])
	}
	for _, root := range append(roots, p.search...) {
		if !under(file, root) {
			continue
		}
		top, _, _ := strings.Cut(file[len(root)+1:], "/")
		if p.installedIn(root)[top] {
			return root
		}
	}
	return ""
}

func (p *Paths) installedIn(dir string) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	names, known := p.installs[dir]
	if !known && p.recorded != nil && len(p.installs) < maxPaths {
		names = p.recorded(dir)
		p.installs[dir] = names
	}
	return names
}

func (p *Paths) isPackage(dir string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	is, known := p.parts[dir]
	if !known && p.exists != nil && len(p.parts) < maxPaths {
		is = p.exists(dir + "/__init__.py")
		p.parts[dir] = is
	}
	return is
}

// source gives the whole name of a file that a code object names.
func (p *Paths) source(file string) string {
	if p.bundle != "" && !path.IsAbs(file) {
		return path.Join(p.bundle, file)
	}
	return p.absolute(file)
}

func (p *Paths) absolute(file string) string {
	if path.IsAbs(file) || p.Dir == "" {
		return path.Clean(file)
	}
	return path.Join(p.Dir, file)
}

// command tells a console script: a file without .py in the bin directory of an interpreter or virtual environment.
func (p *Paths) command(file string) bool {
	dir, base := path.Split(file)
	dir = strings.TrimSuffix(dir, "/")
	if path.Base(dir) != "bin" || strings.HasSuffix(base, ".py") {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	is, known := p.scripts[dir]
	if !known && p.exists != nil && len(p.scripts) < maxPaths {
		is = p.exists(path.Dir(dir) + "/pyvenv.cfg")
		p.scripts[dir] = is
	}
	return is
}

// under tells whether the file lies below the directory. Neither an empty directory nor / says anything.
func under(file, dir string) bool {
	return len(dir) > 1 && len(file) > len(dir)+1 && file[len(dir)] == '/' && strings.HasPrefix(file, dir)
}
