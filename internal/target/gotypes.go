package target

import (
	"encoding/binary"
	"fmt"
)

// Of internal/abi.Type, StructType, StructField and PtrType, the same from Go 1.20 to 1.27.
const (
	typeKind   = 23 // Kind_, 1 byte
	typeElem   = 48 // PtrType.Elem
	typeFields = 56 // StructType.Fields, a slice
	typeBytes  = 72
	kindMask   = 31
	kindPtr    = 22
	kindStruct = 25

	fieldSize  = 24 // Name, Typ and Offset, 8 bytes each
	fieldsMax  = 256
	nameHeader = 2 // flags, and the length in one byte if it is below 128
)

// structField is a field of a struct type.
type structField struct {
	offset uint32
	typ    uint64 // address of its type
}

// goTypes reads the types that a Go program has of itself at run time, stripped or not.
type goTypes struct{ memory Memory }

// fields gives the fields of the struct type at an address by name, or of the struct that a pointer type there points to.
// It gives nil where there is no such type.
func (t goTypes) fields(addr uint64) (fields map[string]structField, pointer bool) {
	var raw [typeBytes]byte
	if t.memory.Read(raw[:], addr) != nil {
		return nil, false
	}
	if raw[typeKind]&kindMask == kindPtr {
		pointer = true
		if t.memory.Read(raw[:], binary.LittleEndian.Uint64(raw[typeElem:])) != nil {
			return nil, false
		}
	}
	n := binary.LittleEndian.Uint64(raw[typeFields+8:])
	if raw[typeKind]&kindMask != kindStruct || n > fieldsMax {
		return nil, false
	}
	all := make([]byte, n*fieldSize)
	if t.memory.Read(all, binary.LittleEndian.Uint64(raw[typeFields:])) != nil {
		return nil, false
	}
	fields = map[string]structField{}
	for ; len(all) > 0; all = all[fieldSize:] {
		word := func(i int) uint64 { return binary.LittleEndian.Uint64(all[8*i:]) }
		if name := t.name(word(0)); name != "" && word(2) <= 1<<20 {
			fields[name] = structField{uint32(word(2)), word(1)}
		}
	}
	return fields, pointer
}

// name gives a field's name, "" for one of 128 bytes or more.
func (t goTypes) name(addr uint64) string {
	var header [nameHeader]byte
	if t.memory.Read(header[:], addr) != nil || header[1] >= 0x80 {
		return ""
	}
	text := make([]byte, header[1])
	if t.memory.Read(text, addr+nameHeader) != nil {
		return ""
	}
	return string(text)
}

// structOf gives the first struct type with certain fields among those that a function names: it does for each that it
// makes one of.
func (c *GoCode) structOf(g *Go, t goTypes, f GoFunc, names ...string) (map[string]structField, error) {
	for in := range c.im.instructions(f.linked.Entry, f.linked.End) {
		if in.constant == 0 {
			continue
		}
		fields, pointer := t.fields(in.constant + g.Bias)
		for _, name := range names {
			if _, ok := fields[name]; !ok {
				fields = nil
			}
		}
		if fields != nil && !pointer {
			return fields, nil
		}
	}
	return nil, fmt.Errorf("%s makes no struct with the fields %q", c.table.Name(f.linked.Name), names)
}
