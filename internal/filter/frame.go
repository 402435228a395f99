// Package filter holds what is done to the frames of a call tree before they are written: named filters, which keep
// or drop single frames, and mappers, which give the rest its shape. All of it is pure: the text of a filter is
// parsed once, bound to each target process, and then only looks at frames.
package filter

// Frame is a node of a request's call tree, as the record tells it.
type Frame struct {
	Function  string
	File      string     // as the target itself sees it; empty where the frame stands for no source
	ShortFile string     // File relative to the module search path
	Line      int        // first line of the function
	Time      int64      // wall nanoseconds in this frame and its callees
	App       bool       // neither the standard library, nor an installed package, nor the runtime
	Depth     int        // distance from the root, which has 0
	Lines     []LineTime // by current line, in ascending order; nil unless asked for
	Children  []*Frame   // frames called from here; set by the mapper Tree alone
}

// LineTime is the wall time that a frame spent while at one of its lines.
type LineTime struct {
	Line int
	Time int64 // nanoseconds
}
