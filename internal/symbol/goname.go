package symbol

import (
	"net/url"
	"strings"
)

// goName is how tracebacks write a function's name: without the shapes of a generic one's types
// (runtime.funcNameForPrint).
func goName(linked string) string {
	from, to := strings.IndexByte(linked, '['), strings.LastIndexByte(linked, ']')
	if from < 0 || to <= from {
		return linked
	}
	return linked[:from] + "[...]" + linked[to+1:]
}

// goPackage is the import path of a function's package; "" for what has none, such as some functions in assembly. The
// linker escapes dots after the last slash.
func goPackage(name string) string {
	head := name
	if end := strings.IndexAny(head, "(["); end >= 0 {
		head = head[:end]
	}
	slash := strings.LastIndexByte(head, '/') + 1
	dot := strings.IndexByte(head[slash:], '.')
	if dot < 0 {
		return ""
	}
	pkg := head[:slash+dot]
	if plain, err := url.PathUnescape(pkg); err == nil {
		return plain
	}
	return pkg
}
