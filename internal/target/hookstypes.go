package target

import "fmt"

// PythonTypes are the addresses in a process of the types that the chain of what a suspended task awaits is made of,
// and of those that say for whom a thread of a pool works and which request an application is called for; 0 where a type
// cannot be told or the version has none. An async generator's ASend and AThrow, CoroWrapper and AnextAwaitable hold what
// they go on with right behind their head (CPython Objects/genobject.c, Objects/iterobject.c).
type PythonTypes struct {
	Coroutine, Generator, AsyncGenerator       uint64
	ASend, AThrow, CoroWrapper, AnextAwaitable uint64 // of agen.asend(), agen.athrow(), coroutine.__await__(), anext(it, default)
	Context, Cell                              uint64 // contextvars.Context, closures' cells
	Dict, Tuple, List, Bytes, Int              uint64
}

// PythonTypes looks the types up by symbol, else by name: 3.13 exports neither AThrow nor CoroWrapper, and no version
// exports AnextAwaitable. Errors: that the interpreter's image cannot be read.
func (p *Process) PythonTypes() (PythonTypes, error) {
	var t PythonTypes
	im, err := p.image(p.Python.mapping)
	if err != nil {
		return t, err
	}
	defer im.close()
	wanted := []struct {
		to           *uint64
		symbol, name string
	}{
		{&t.Coroutine, "PyCoro_Type", "coroutine"},
		{&t.Generator, "PyGen_Type", "generator"},
		{&t.AsyncGenerator, "PyAsyncGen_Type", "async_generator"},
		{&t.ASend, "_PyAsyncGenASend_Type", "async_generator_asend"},
		{&t.AThrow, "_PyAsyncGenAThrow_Type", "async_generator_athrow"},
		{&t.CoroWrapper, "_PyCoroWrapper_Type", "coroutine_wrapper"},
		{&t.AnextAwaitable, "_PyAnextAwaitable_Type", "anext_awaitable"},
		{&t.Context, "PyContext_Type", ""},
		{&t.Cell, "PyCell_Type", "cell"},
		{&t.Dict, "PyDict_Type", "dict"},
		{&t.Tuple, "PyTuple_Type", "tuple"},
		{&t.List, "PyList_Type", "list"},
		{&t.Bytes, "PyBytes_Type", "bytes"},
		{&t.Int, "PyLong_Type", "int"},
	}
	symbols := make([]string, len(wanted))
	for i, w := range wanted {
		symbols[i] = w.symbol
	}
	found := im.lookup(symbols...)
	var names []string
	for _, w := range wanted {
		if *w.to = found[w.symbol].addr; *w.to == 0 && w.name != "" {
			names = append(names, w.name)
		}
	}
	named, err := im.typesOf(&typesIn, p.Python.header(), names)
	if err != nil {
		return PythonTypes{}, fmt.Errorf("find types in %s of process %d: %w", p.Python.Image, p.PID, err)
	}
	for _, w := range wanted {
		if *w.to == 0 {
			*w.to = named[w.name]
		}
		if *w.to != 0 {
			*w.to += p.Python.Bias
		}
	}
	return t, nil
}

var typesIn, codeTypesIn seen[map[string]uint64]

// typesOf does what types does, once for each file: which names are asked for depends on what the file exports.
func (im *image) typesOf(in *seen[map[string]uint64], header uint64, names []string) (map[string]uint64, error) {
	return in.findIn(im, func() (map[string]uint64, error) { return im.types(header, names) })
}

// codeTypes gives the addresses of PyCode_Type and PyUnicode_Type by their names, 0 where they cannot be told.
func (im *image) codeTypes(header uint64) (code, str uint64, err error) {
	named, err := im.typesOf(&codeTypesIn, header, []string{"code", "str"})
	return named["code"], named["str"], err
}

// types gives the addresses of the static types with those names, given the size of an object's head. A name that two
// types have tells neither.
func (im *image) types(header uint64, names []string) (map[string]uint64, error) {
	out := map[string]uint64{}
	if len(names) == 0 {
		return out, nil
	}
	p, err := im.pointers()
	if err != nil {
		return nil, err
	}
	for name, refs := range p.toNames(names...) {
		var types []uint64
		for _, ref := range refs {
			if p.isType(ref) {
				types = append(types, ref-header-typeName)
			}
		}
		if at, ok := only(types); ok {
			out[name] = at
		}
	}
	return out, nil
}
