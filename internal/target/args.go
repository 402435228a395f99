package target

import (
	"path"
	"regexp"
	"strings"
)

// invocation is what a Python command line says it runs.
type invocation struct {
	module string   // of -m
	script string   // path as given
	inline bool     // -c
	args   []string // what the program gets
}

// parsePython reads the arguments of the interpreter after its own name (python --help).
func parsePython(argv []string) invocation {
	for i := 0; i < len(argv); i++ {
		arg := argv[i]
		if arg == "--check-hash-based-pycs" {
			i++
			continue
		}
		if arg == "-" || arg == "" || arg[0] != '-' {
			return invocation{script: arg, args: argv[i+1:]}
		}
		if strings.HasPrefix(arg, "--") {
			continue
		}
		at := strings.IndexAny(arg, "cmWX")
		if at < 0 {
			continue // a cluster of flags
		}
		value, rest := arg[at+1:], argv[i+1:]
		if value == "" && len(rest) > 0 {
			value, rest = rest[0], rest[1:]
			i++
		}
		switch arg[at] {
		case 'm':
			return invocation{module: value, args: rest}
		case 'c':
			return invocation{inline: true, args: rest}
		}
	}
	return invocation{}
}

// program is the name of the server's command: "gunicorn", "uvicorn".
func (v invocation) program() string {
	if v.module != "" {
		return strings.TrimSuffix(v.module, ".__main__")
	}
	return path.Base(v.script)
}

// application is module:attribute with anything that the attribute is called or subscripted with.
var application = regexp.MustCompile(`^[\pL_][\pL\pN_.]*:[\pL_][\pL\pN_.]*(\(.*\)|\[.*\])?$`)

// takesColons are options of servers whose values may look like an application.
var takesColons = map[string]bool{
	"-k": true, "--worker-class": true, "--logger-class": true, "-c": true, "--config": true, "-b": true, "--bind": true,
	"--log-config": true, "-e": true, "--env": true, "--host": true, "-n": true, "--name": true, "--paste": true,
	"--backend": true, "--loop": true, "--http": true, "--ws": true,
}

// findApplication gives the argument that names the application, as "shop:app".
func findApplication(args []string) string {
	for i, arg := range args {
		if name, value, ok := strings.Cut(arg, "="); ok {
			switch name {
			case "--app", "--module", "--wsgi", "--asgi":
				arg = value
			}
		}
		if application.MatchString(arg) && (i == 0 || !takesColons[args[i-1]]) {
			return arg
		}
	}
	return ""
}

// gunicornFlags are the options of gunicorn that take no value (gunicorn --help).
var gunicornFlags = map[string]bool{
	"-h": true, "--help": true, "-v": true, "--version": true, "--reload": true, "--spew": true, "--check-config": true,
	"--print-config": true, "--preload": true, "--no-sendfile": true, "--reuse-port": true, "-D": true, "--daemon": true,
	"--initgroups": true, "-R": true, "--enable-stdio-inheritance": true, "--capture-output": true,
	"--disable-redirect-access-to-syslog": true, "--log-syslog": true, "--no-control-socket": true,
	"--suppress-ragged-eofs": true, "--do-handshake-on-connect": true, "--strip-header-spaces": true,
	"--permit-obsolete-folding": true, "--permit-unconventional-http-method": true,
	"--permit-unconventional-http-version": true, "--casefold-http-method": true,
}

// gunicornArgs gives the value of --name and the positional argument, the application, which may lack an attribute.
func gunicornArgs(args []string) (name, app string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case strings.HasPrefix(arg, "--name="):
			name = arg[len("--name="):]
		case (arg == "-n" || arg == "--name") && i+1 < len(args):
			i++
			name = args[i]
		case strings.HasPrefix(arg, "-n") && !strings.HasPrefix(arg, "--"):
			name = arg[len("-n"):]
		case gunicornFlags[arg]:
		case strings.HasPrefix(arg, "--"):
			if !strings.Contains(arg, "=") {
				i++
			}
		case strings.HasPrefix(arg, "-"):
			if len(arg) == 2 {
				i++
			}
		case app == "":
			app = arg
		}
	}
	return name, app
}
