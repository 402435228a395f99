package target

import (
	"os/exec"
	"testing"

	"apm-ebpf/internal/target/targettest"
)

const printTypes = `
import json, sys, types
def gen(): yield
async def agen(): yield
async def coro(): pass
c = coro()
def closure(x):
    return lambda: x
has = {"Coroutine": types.CoroutineType, "Generator": types.GeneratorType, "AsyncGenerator": types.AsyncGeneratorType,
       "ASend": type(agen().asend(None)), "AThrow": type(agen().athrow(ValueError)), "CoroWrapper": type(c.__await__()),
       "Cell": type(closure(1).__closure__[0]), "Dict": dict, "Tuple": tuple, "List": list, "Bytes": bytes, "Int": int}
if sys.version_info >= (3, 7):
    from contextvars import Context
    has["Context"] = Context
if sys.version_info >= (3, 10):
    has["AnextAwaitable"] = type(anext(agen(), 1))
print(json.dumps({name: id(kind) for name, kind in has.items()}), flush=True)
input()
`

func TestPythonTypes(t *testing.T) {
	for _, python := range targettest.Interpreters(t) {
		t.Run(python.String(), func(t *testing.T) {
			child := targettest.Start(t, exec.Command(python.Path, "-W", "ignore", "-c", printTypes))
			var want PythonTypes
			answer(t, child, &want)
			p := inspect(t, child.Process.Pid)
			got, err := p.PythonTypes()
			if err != nil || got != want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, want)
			}
			if want.Coroutine == 0 || want.Cell == 0 || (want.AnextAwaitable == 0) != (python.Minor < 10) {
				t.Errorf("the child leaves out types: %+v", want)
			}
		})
	}
}

// Types must be found by name alone, from the file and from memory: other builds export other symbols.
func TestTypesByName(t *testing.T) {
	names := []string{"async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "async_generator", "coroutine"}
	symbols := []string{"_PyAsyncGenASend_Type", "_PyAsyncGenAThrow_Type", "_PyCoroWrapper_Type", "PyAsyncGen_Type", "PyCoro_Type"}
	for _, python := range targettest.Interpreters(t) {
		child := targettest.Start(t, exec.Command(python.Path, "-c", printVersion))
		child.Line()
		p := inspect(t, child.Process.Pid)
		file, err := p.image(p.Python.mapping)
		if err != nil {
			t.Fatal(err)
		}
		defer file.close()
		memory, err := openMemoryImage(Memory(p.PID), p.Python.mapping.Start)
		if err != nil {
			t.Fatal(err)
		}
		exported := file.lookup(symbols...)
		for where, im := range map[string]*image{"file": file, "memory": memory} {
			types, err := im.types(p.Python.header(), names)
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range names {
				if want := exported[symbols[i]].addr; types[name] == 0 || want != 0 && types[name] != want {
					t.Errorf("%s, %s: %s at %#x, want %#x", python.Path, where, name, types[name], want)
				}
			}
		}
	}
}
