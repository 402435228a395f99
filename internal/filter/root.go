package filter

import (
	"path"
	"slices"
	"strings"
)

// appOnly takes the working directory for the application's root. What is installed or part of the standard library
// may lie below it (a virtual environment often does), so a frame must be application code too. Where no root can be
// told, being application code is enough.
func appOnly(env Env) Filter {
	if !path.IsAbs(env.Dir) || path.Clean(env.Dir) == "/" {
		return func(f *Frame) bool { return f.App }
	}
	inDir := []Filter{under(env.Dir, env.Dir)}
	for _, same := range env.Same {
		inDir = append(inDir, under(same, env.Dir))
	}
	return func(f *Frame) bool {
		return f.App && slices.ContainsFunc(inDir, func(in Filter) bool { return in(f) })
	}
}

// under keeps the frames whose file is root or lies below it. Relative paths, of the root as of a file, begin at the
// process's working directory.
func under(root, dir string) Filter {
	root = absolute(root, dir)
	return func(f *Frame) bool {
		// Names in angle brackets (<string>, <frozen importlib._bootstrap>) are no files.
		if f.File == "" || f.File[0] == '<' {
			return false
		}
		return contains(root, absolute(f.File, dir))
	}
}

// absolute allocates only for a path that is not absolute and clean already.
func absolute(file, dir string) string {
	if path.IsAbs(file) {
		return path.Clean(file)
	}
	return path.Join(dir, file)
}

// contains compares whole components: /srv/app does not contain /srv/app2. Both paths are clean.
func contains(root, file string) bool {
	if root == "/" {
		return path.IsAbs(file)
	}
	rest, ok := strings.CutPrefix(file, root)
	return ok && (rest == "" || rest[0] == '/')
}
