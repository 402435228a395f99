package filter

import (
	"fmt"
	"slices"
)

// Mapper is the shape that a record's frames are given.
type Mapper string

const (
	List Mapper = "tree2list" // a list in post-order, every child before its parent
	Tree Mapper = "tree"      // frames nested in the frames that called them
)

// ParseMapper reads the name of a mapper. Its error does not repeat the name.
func ParseMapper(name string) (Mapper, error) {
	if m := Mapper(name); m == List || m == Tree {
		return m, nil
	}
	return "", fmt.Errorf("is no mapper; choose %s or %s", List, Tree)
}

// Map keeps the frames that pass all filters and gives them the mapper's shape. The frames come in post-order with
// their depths, as a whole tree: where a dropped frame stood cannot be told from those that are left, so a tree is
// never to be built from the result of compose. What is returned for Tree are the frames on top, each with its
// Children and a Depth that means nothing any more.
//
// Map works in place: the slice and, for Tree, the frames belong to it.
func (m Mapper) Map(filters []Filter, frames []*Frame) []*Frame {
	if m == Tree {
		return nest(filters, frames)
	}
	return compose(filters, frames)
}

// compose returns the frames that pass all filters, in the same order. It works in place.
func compose(filters []Filter, frames []*Frame) []*Frame {
	if len(filters) == 0 {
		return frames
	}
	return slices.DeleteFunc(frames, func(f *Frame) bool { return !kept(filters, f) })
}

// kept asks each filter only about what those before it left.
func kept(filters []Filter, f *Frame) bool {
	for _, keep := range filters {
		if !keep(f) {
			return false
		}
	}
	return true
}

// nest builds the tree in one pass. The frames still without a parent wait at the front of the slice, where there is
// always room because each frame puts back at most as many as were taken. A frame's descendants are those that wait
// at its end with a greater depth; when the frame itself is dropped they move up to its depth, into its place.
func nest(filters []Filter, frames []*Frame) []*Frame {
	children := make([]*Frame, 0, len(frames))
	waiting := frames[:0]
	for _, f := range frames {
		first := len(waiting)
		for first > 0 && waiting[first-1].Depth > f.Depth {
			first--
		}
		if !kept(filters, f) {
			for _, w := range waiting[first:] {
				w.Depth = f.Depth
			}
			continue
		}
		if first < len(waiting) {
			from := len(children)
			children = append(children, waiting[first:]...)
			f.Children = children[from:len(children):len(children)]
		}
		waiting = append(waiting[:first], f)
	}
	clear(frames[len(waiting):])
	return waiting
}
