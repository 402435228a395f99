package probe

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// image names a file whatever path leads to it.
type image struct{ device, inode uint64 }

// AttachAsyncio has the kernel programs see the tasks of the processes that run an _asyncio module, given
// the file offsets of the places where it creates a task and begins its steps.
func (p *Probe) AttachAsyncio(file string, create, step, wakeup uint64) error {
	return p.attachUprobes(file, []uprobe{
		{p.objects.TaskInit, create}, {p.objects.TaskStep, step}, {p.objects.TaskWakeup, wakeup},
	})
}

// AttachGreenlet has the kernel programs see the greenlets of the processes that run a greenlet module,
// given the file offset of the place where one leaves its thread.
func (p *Probe) AttachGreenlet(file string, leave uint64) error {
	return p.attachUprobes(file, []uprobe{{p.objects.GreenletSwitch, leave}})
}

type uprobe struct {
	program *ebpf.Program
	offset  uint64
}

// attachUprobes attaches once to each file, for every process that maps it now or later.
func (p *Probe) attachUprobes(file string, uprobes []uprobe) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("attach uprobes: %w", err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	key := image{uint64(stat.Dev), stat.Ino}
	if p.images[key] {
		return nil
	}
	executable, err := link.OpenExecutable(file)
	if err != nil {
		return fmt.Errorf("attach uprobes to %s: %w", file, err)
	}
	for _, u := range uprobes {
		l, err := executable.Uprobe("", u.program, &link.UprobeOptions{Address: u.offset})
		if err != nil {
			return fmt.Errorf("attach uprobe to %s+%#x: %w", file, u.offset, err)
		}
		p.links = append(p.links, l)
	}
	p.images[key] = true
	return nil
}
