package emit

import (
	"runtime/debug"
	"strings"
	"sync"
)

// version is set by the linker: -ldflags "-X apm-ebpf/internal/emit.version=1.0.0".
var version string

// Version returns the version of this agent, a semantic version without a leading v.
var Version = sync.OnceValue(func() string {
	build := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		build = info.Main.Version
	}
	return chooseVersion(version, build)
})

// chooseVersion prefers what the linker was told to what the go command noted of the checkout, which it calls
// (devel) where it knows nothing.
func chooseVersion(linked, build string) string {
	for _, v := range []string{linked, build} {
		v = strings.TrimPrefix(v, "v")
		if v != "" && '0' <= v[0] && v[0] <= '9' {
			return v
		}
	}
	return "0.0.0-devel"
}
