package symbol

import (
	"path"
	"regexp"
	"runtime/debug"
	"strings"

	"apm-ebpf/internal/pclntab"
	"apm-ebpf/internal/target"
)

// goSources tells where the source files of a Go program come from.
type goSources struct {
	root    string // of the standard library with a slash; "" where paths are trimmed
	main    string // import path of package main, "" if unknown
	modules map[string]goModule
}

type goModule struct {
	prefix string // of the short names of its files
	app    bool
}

// goRoot finds the directory of the standard library by a file of the runtime.
func goRoot(table *pclntab.Table) string {
	const name, file = "runtime.main", "runtime/proc.go"
	f, ok := table.Lookup(name)[name]
	if !ok {
		return ""
	}
	places := table.Places(&f, f.Entry)
	root, ok := strings.CutSuffix(table.File(places[len(places)-1].File), file)
	if !ok {
		return ""
	}
	return root
}

// devel stands for the version of a module that was not fetched (runtime/debug.Module).
const devel = "(devel)"

func newGoSources(build *debug.BuildInfo, root string) *goSources {
	s := &goSources{root: root, main: build.Path, modules: map[string]goModule{}}
	for _, m := range build.Deps {
		prefix := m.Path + "@" + m.Version + "/"
		if m.Replace != nil {
			prefix = m.Replace.Path + "@" + m.Replace.Version + "/"
		}
		// Modules of a workspace have no version of their own, nor do directories that replace one.
		own := m.Version == devel || m.Replace != nil && m.Replace.Version == devel
		if own {
			prefix = target.ModuleName(m.Path) + "/"
		}
		s.modules[m.Path] = goModule{prefix, own}
	}
	if build.Main.Path != "" {
		s.modules[build.Main.Path] = goModule{"", true}
	}
	return s
}

// describe puts together what users see.
func (s *goSources) describe(name, file string, line int) *Func {
	short, app := s.place(goPackage(name), file)
	return &Func{Name: name, File: file, ShortFile: short, Line: max(0, line), App: app}
}

// fetched marks files of modules and packages that somebody else wrote, where the build tells no modules.
var fetched = regexp.MustCompile(`@v[0-9]|/vendor/|(^|/)external/`)

// place tells a file's short name, and whether it is the application's own.
func (s *goSources) place(pkg, file string) (short string, app bool) {
	if file == "" {
		return "", false
	}
	base := path.Base(file)
	if s.root != "" {
		if short, ok := strings.CutPrefix(file, s.root); ok {
			return short, false
		}
	}
	if strings.HasPrefix(pkg, "type:") || strings.HasPrefix(pkg, "go:") {
		return base, false
	}
	if pkg == "main" && s.main != "" && s.main != "command-line-arguments" {
		pkg = s.main
	}
	for at := pkg; at != "." && at != "/"; at = path.Dir(at) {
		if m, ok := s.modules[at]; ok {
			return m.prefix + path.Join(strings.TrimPrefix(strings.TrimPrefix(pkg, at), "/"), base), m.app
		}
	}
	first, _, _ := strings.Cut(pkg, "/")
	switch {
	case pkg == "main" || pkg == s.main:
		return base, true
	case pkg == "" && !path.IsAbs(file): // in assembly
		return file, false
	case pkg == "":
		return base, false
	case s.root == "" && !strings.Contains(first, "."): // of the standard library, where paths are trimmed
		return path.Join(pkg, base), false
	}
	return path.Join(pkg, base), !fetched.MatchString(file)
}
