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
	Lib  []string // the standard library: directories and zip files
	Site []string // directories of installed packages

	search  []string                 // other entries of the module search path
	scripts map[string]bool          // directories of installed commands
	venv    func(prefix string) bool // whether a virtual environment lies there
	mu      sync.Mutex               // guards scripts
}

// installed marks the directories that hold installed packages and nothing else, wherever they lie.
var installed = regexp.MustCompile(`^.*/(site|dist)-packages(/|$)`)

// IsApp tells whether a file, by its co_filename, is neither the standard library nor an installed package or command.
// Code typed or built at run time (<string>, <stdin>, <ipython-input-…>) is the application's, other code without a file
// (<frozen importlib._bootstrap>, <__array_function__ internals>) is not.
func (p *Paths) IsApp(file string) bool {
	if strings.HasPrefix(file, "<") {
		return file == "<string>" || file == "<stdin>" || strings.HasPrefix(file, "<ipython-input-")
	}
	if file == "" {
		return false
	}
	file = p.absolute(file)
	if installed.MatchString(file) || p.command(file) {
		return false
	}
	for _, dir := range slices.Concat(p.Lib, p.Site) {
		if under(file, dir) {
			return false
		}
	}
	return len(p.Lib) > 0 || !guessedLib.MatchString(file)
}

// guessedLib stands in for Lib where the standard library was not found.
var guessedLib = regexp.MustCompile(`/lib(64)?/python3\.?[0-9]+(\.zip)?/`)

// Short gives a file relative to the longest entry of the module search path that contains it. A file below none of
// them, and code without a file, keeps its name.
func (p *Paths) Short(file string) string {
	if file == "" || strings.HasPrefix(file, "<") {
		return file
	}
	full := p.absolute(file)
	if p.command(full) {
		return path.Base(full)
	}
	best := 0
	if at := installed.FindStringIndex(full); at != nil && at[1] < len(full) {
		best = at[1]
	}
	for _, dir := range slices.Concat(p.search, p.Lib, p.Site, []string{p.Dir}) {
		if under(full, dir) {
			best = max(best, len(dir)+1)
		}
	}
	if best == 0 {
		return file
	}
	return full[best:]
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
	if !known && p.venv != nil && len(p.scripts) < maxPaths {
		is = p.venv(path.Dir(dir))
		p.scripts[dir] = is
	}
	return is
}

// under tells whether the file lies below the directory. Neither an empty directory nor / says anything.
func under(file, dir string) bool {
	return len(dir) > 1 && len(file) > len(dir)+1 && file[len(dir)] == '/' && strings.HasPrefix(file, dir)
}
