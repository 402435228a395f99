package symbol

import (
	"bytes"
)

// Told is what a code object said of itself while it was on a stack. It may have been freed since.
type Told struct {
	Addr       uint64
	Flags      uint32 // co_flags
	FirstLine  uint32 // co_firstlineno
	Name, File Text
}

// Text is a str object of which a beginning was read, as long as the kernel programs can.
type Text struct {
	Addr   uint64
	Length uint64 // characters
	State  uint32 // PyASCIIObject.state
	Head   []byte // beginning of the text, as the object holds it; empty where it could not be read
}

// Name gives the function. The code object takes the place of any other that was known at its address. One without
// addresses of its texts could not be read at all.
func (p *Python) Name(t *Told) *Func {
	p.forget(t.Addr)
	if t.Name.Addr == 0 || t.File.Addr == 0 {
		return p.Func(t.Addr)
	}
	name, ok1 := p.toldText(&t.Name)
	file, ok2 := p.toldText(&t.File)
	if !ok1 || !ok2 {
		return Unknown
	}
	return p.function(t.Flags, t.FirstLine, name, file)
}

// Text decodes a text if all of it was read.
func (p *Python) Text(t Text) (string, bool) {
	kind, _, ok := p.layout.textKind(t.State)
	if !ok || t.Length*uint64(kind) != uint64(len(t.Head)) {
		return "", false
	}
	return decode(t.Head, kind)
}

// toldText decodes a text and reads the rest of one that is longer. What could not be read at all has not been touched
// for long, as constants of the interpreter's file: what just came to be would not take its place unseen.
func (p *Python) toldText(t *Text) (string, bool) {
	kind, _, ok := p.layout.textKind(t.State)
	if len(t.Head) > 0 && ok && t.Length <= uint64(len(t.Head)/kind) {
		return decode(t.Head[:int(t.Length)*kind], kind)
	}
	now, ok := p.readText(t.Addr)
	if !ok || len(t.Head) > 0 && (now.length != t.Length || !bytes.HasPrefix(now.raw, t.Head)) {
		return "", false
	}
	return now.text, true
}
