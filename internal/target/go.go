package target

import (
	"fmt"
	"path"
	"regexp"
	"runtime/debug"

	"apm-ebpf/internal/pclntab"
)

// Go is the Go runtime of a process.
type Go struct {
	Version       string // "go1.26.1"
	Minor         int    // 26
	Module        string // path of the main module; "" where the build does not tell
	Build         *debug.BuildInfo
	Bias          uint64 // load bias of the executable
	Text, TextEnd uint64 // extent of Go's code in the process
	TLSOffset     int64  // of g from a thread's TLS base on x86_64; arm64 keeps g in x28
	AllGs         uint64 // address of runtime.allgs in the process; 0 where NoAllGs says why it is not known
	NoAllGs       error

	mapping Mapping
	module  pclntab.Module
}

// The minor versions of Go 1 that are known. A newer one is profiled if its tables are as those of the last.
const (
	FirstGoMinor = 20
	LastGoMinor  = 27
)

// serving are functions that read requests in each of the HTTP servers that are known, or of gnet's applications, which may be
// any. A program without any of them has none.
var serving = []string{
	"net/http.(*conn).serve",
	"net/http.(*http2serverConn).serve",
	"net/http/internal/http2.(*serverConn).serve",
	"golang.org/x/net/http2.(*serverConn).serve",
	"github.com/valyala/fasthttp.(*Server).serveConn",
	"github.com/cloudwego/hertz/pkg/protocol/http1.Server.Serve",
	"github.com/lesismal/nbio/nbhttp.(*ServerProcessor).OnComplete",
	"github.com/panjf2000/gnet/v2.(*eventloop).read",
	"google.golang.org/grpc/internal/transport.(*http2Server).HandleStreams",
}

// findGo describes the program if it is one of Go, whether its symbols are stripped or not. It gives nil where it is not.
func (p *Process) findGo(maps []Mapping) (*Go, error) {
	m, mapped := executable(maps, p.Exe)
	open := p.openExe
	if mapped {
		open = func() (*image, error) { return p.image(m) }
	}
	im, err := open()
	if err != nil {
		return nil, err
	}
	defer im.close()
	built, build, ok := im.goBuild()
	if !ok {
		return nil, nil
	}
	g := &Go{Module: build.Main.Path, Build: build, mapping: m}
	if g.Version, g.Minor, ok = parseGoVersion(built); !ok {
		return nil, &Unsupported{PID: p.PID, What: fmt.Sprintf("a Go program whose build tells no version (%s)", p.Exe)}
	}
	if g.Minor < FirstGoMinor {
		return nil, &Unsupported{PID: p.PID, What: fmt.Sprintf("a %s program (%s)", g.Version, p.Exe)}
	}
	if !mapped {
		return nil, p.notReady("its executable is not mapped")
	}
	if err := p.describeGo(g, im); err != nil {
		return nil, err
	}
	return g, nil
}

// describeGo fills in what the executable tells of itself.
func (p *Process) describeGo(g *Go, im *image) (err error) {
	if g.module, err = im.goModule(g.Minor); err != nil {
		return p.goError(g, err)
	}
	table, err := pclntab.Open(im.at, g.module, g.Minor)
	if err != nil {
		return p.goError(g, err)
	}
	if len(table.Names(serving...)) == 0 {
		return &Unsupported{PID: p.PID, What: fmt.Sprintf("a Go program without an HTTP server that is known (%s)", p.Exe),
			Why: "it has none of net/http's, fasthttp's, golang.org/x/net/http2's, gRPC's, hertz's, nbio's and gnet's"}
	}
	g.Bias = im.biasAt(g.mapping.Start)
	g.Text, g.TextEnd = g.module.Text+g.Bias, g.module.TextEnd+g.Bias
	if err := p.findGlobals(g, im, table); err != nil {
		return p.goError(g, err)
	}
	return nil
}

// goError tells what could not be read, and that a version may be too new.
func (p *Process) goError(g *Go, err error) error {
	if g.Minor > LastGoMinor {
		err = fmt.Errorf("newer than Go 1.%d, the last that is known: %w", LastGoMinor, err)
	}
	return fmt.Errorf("read %s of process %d (%s): %w", p.Exe, p.PID, g.Version, err)
}

// findGlobals tells where the runtime keeps its goroutines.
func (p *Process) findGlobals(g *Go, im *image, table *pclntab.Table) (err error) {
	const add, call = "runtime.allgadd", "runtime.mcall"
	functions := table.Lookup(add, call)
	if g.AllGs, g.NoAllGs = im.findAllGs(functions[add]); g.NoAllGs == nil {
		g.AllGs += g.Bias
		if g.NoAllGs = checkSlice(Memory(p.PID), g.AllGs); g.NoAllGs != nil {
			g.AllGs = 0
		}
	}
	if im.arm64 {
		return nil
	}
	word := func(addr uint64) (uint64, error) { return Memory(p.PID).word(addr + g.Bias) }
	g.TLSOffset, err = im.findG(functions[call], word)
	return err
}

// executable gives the first mapping of the executable.
func executable(maps []Mapping, exe string) (Mapping, bool) {
	for _, m := range maps {
		if m.Offset == 0 && m.Path == exe {
			return m, true
		}
	}
	return Mapping{}, false
}

// GoTable is the table of functions of a process's executable, by the file's own addresses: those of the process less
// Go.Bias.
type GoTable struct {
	*pclntab.Table
	im *image
}

// Close lets go of the file.
func (t *GoTable) Close() { t.im.close() }

// GoTable opens the table of functions of a Go process.
func (p *Process) GoTable() (*GoTable, error) {
	im, err := p.image(p.Go.mapping)
	if err != nil {
		return nil, err
	}
	table, err := pclntab.Open(im.at, p.Go.module, p.Go.Minor)
	if err != nil {
		im.close()
		return nil, fmt.Errorf("read functions of process %d (%s): %w", p.PID, p.Go.Version, err)
	}
	return &GoTable{table, im}, nil
}

// major is the end of a module's path that tells its major version.
var major = regexp.MustCompile(`/v[0-9]+$`)

// ModuleName is the base name of a module's path, "" where there is none.
func ModuleName(module string) string {
	if module == "" {
		return ""
	}
	return path.Base(major.ReplaceAllString(module, ""))
}
