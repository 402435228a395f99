package probe

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// loader loads each program when it is first needed: one that walks stacks takes the verifier tens of milliseconds, and a
// service needs few of those for uprobes. Safe for concurrent use.
type loader struct {
	kernel    *kernel
	spec      *ebpf.CollectionSpec // megabytes, until all is loaded
	types     *btf.Cache           // the same
	maps      map[string]*ebpf.Map
	variables map[string]*ebpf.Variable
	programs  map[string]*program
	closing   atomic.Bool
	work      sync.WaitGroup
}

type program struct {
	once   sync.Once
	loaded *ebpf.Program
	err    error
}

// loadBeside is how many programs are loaded side by side at most: services are at work on the CPUs.
const loadBeside = 4

// loadNice leaves who verifies programs that nothing waits for a tenth of a CPU that others want.
const loadNice = 10

// newLoader makes the maps, of a spec that fits the kernel.
func newLoader(kernel *kernel, spec *ebpf.CollectionSpec, types *btf.Cache) (*loader, error) {
	data := *spec
	data.Programs = nil
	c, err := ebpf.NewCollectionWithOptions(&data, ebpf.CollectionOptions{Cache: types})
	if err != nil {
		return nil, err
	}
	l := &loader{kernel: kernel, spec: spec, types: types, maps: c.Maps, variables: c.Variables, programs: map[string]*program{}}
	for name := range spec.Programs {
		l.programs[name] = &program{}
	}
	return l, nil
}

// get gives a program.
func (l *loader) get(name string) (*ebpf.Program, error) {
	p := l.programs[name]
	p.once.Do(func() {
		if p.loaded, p.err = l.verify(name); p.err != nil {
			p.err = fmt.Errorf("load BPF programs: %w", p.err)
		}
	})
	return p.loaded, p.err
}

// verify has the kernel take a program. Of a collection because that shares what is known of the kernel's types.
func (l *loader) verify(name string) (*ebpf.Program, error) {
	spec := l.spec.Programs[name].Copy()
	for i := range spec.Instructions {
		ins := &spec.Instructions[i]
		if !ins.IsLoadFromMap() {
			continue
		}
		if err := ins.AssociateMap(l.maps[ins.Reference()]); err != nil {
			return nil, fmt.Errorf("program %s: map %s: %w", name, ins.Reference(), err)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{name: spec}},
		ebpf.CollectionOptions{Programs: l.kernel.options(), Cache: l.types})
	if err != nil {
		return nil, err
	}
	return c.Programs[name], nil
}

// load sees to it that programs are there, and verifies them side by side.
func (l *loader) load(names ...string) error {
	free := make(chan struct{}, min(runtime.GOMAXPROCS(0), loadBeside))
	errs := make([]error, len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		free <- struct{}{}
		wait.Go(func() {
			_, errs[i] = l.get(name)
			<-free
		})
	}
	wait.Wait()
	return cmp.Or(errs...)
}

// loadAll loads what is left, one after the other, unless it is closed before.
func (l *loader) loadAll() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(l.programs)) {
		if l.closing.Load() {
			return nil
		}
		_, err := l.get(name)
		errs = append(errs, err)
	}
	l.spec, l.types, l.kernel.types = nil, nil, nil
	debug.FreeOSMemory() // which an idle agent would not
	return cmp.Or(errs...)
}

func (l *loader) close() {
	l.closing.Store(true)
	l.work.Wait()
	for _, p := range l.programs {
		p.loaded.Close()
	}
	for _, m := range l.maps {
		m.Close()
	}
}
