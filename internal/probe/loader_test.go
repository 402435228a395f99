package probe

import (
	"maps"
	"slices"
	"testing"
)

// TestLoader loads what is needed and no more, and the rest beside who needs some of it.
func TestLoader(t *testing.T) {
	p := open(t, lacks{})
	loaded := func() (names []string) {
		for name, program := range p.loader.programs {
			if program.loaded != nil {
				names = append(names, name)
			}
		}
		return names
	}
	if names := loaded(); !slices.Contains(names, "sched_switch") || slices.Contains(names, "greenlet_init") {
		t.Errorf("%q are loaded at first", names)
	}
	if err := p.loader.load("greenlet_init", "greenlet_switch"); err != nil {
		t.Fatal(err)
	}
	if names := loaded(); !slices.Contains(names, "greenlet_init") || slices.Contains(names, "task_init") {
		t.Errorf("%q are loaded once greenlets are seen", names)
	}
	p.LoadLater()
	if program, err := p.loader.get("task_wakeup"); program == nil || err != nil {
		t.Errorf("what is needed meanwhile: %v, %v", program, err)
	}
	p.loader.work.Wait()
	if have, want := len(loaded()), len(p.loader.programs); have != want {
		t.Errorf("%d of %d are loaded at last: %q", have, want, slices.Sorted(maps.Keys(p.loader.programs)))
	}
}

// TestLoaderClosed ends while programs are being loaded.
func TestLoaderClosed(t *testing.T) {
	p := open(t, lacks{})
	p.LoadLater()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
