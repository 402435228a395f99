package pclntab

import "bytes"

const searchChunk = 256 << 10

// Names tells where in the table of names these are, inlined functions' among them. Those that are not there are missing.
func (t *Table) Names(names ...string) map[string]uint32 {
	out := map[string]uint32{}
	longest := 0
	for _, name := range names {
		longest = max(longest, len(name)+2) // and the zeros around it
	}
	buf := make([]byte, searchChunk+longest)
	for at := uint64(0); at < t.names.size && len(out) < len(names); at += searchChunk {
		n, err := t.tab.at.ReadAt(buf[:min(uint64(len(buf)), t.names.size-at)], int64(t.names.start+at))
		for _, name := range names {
			if _, ok := out[name]; ok {
				continue
			}
			if i := bytes.Index(buf[:n], []byte("\x00"+name+"\x00")); i >= 0 {
				out[name] = uint32(at) + uint32(i) + 1
			}
		}
		if err != nil {
			break
		}
	}
	return out
}

// Lookup gives the functions with those names. Those that are nowhere but inlined are missing, as are wrappers that the
// compiler made for calls from assembly or to it, which have the name of what they call.
func (t *Table) Lookup(names ...string) map[string]Func {
	wanted := map[uint32]string{}
	for name, off := range t.Names(names...) {
		wanted[off] = name
	}
	out := map[string]Func{}
	for i := uint64(0); i < t.functions && len(out) < len(wanted); i++ {
		name, ok := wanted[t.word(t.table, uint64(t.word(t.table, 8*i+4))+4)]
		if !ok {
			continue
		}
		if f, ok := t.function(i); ok && !t.IsWrapper(f.Kind) {
			out[name] = f
		}
	}
	return out
}
