package target

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Threads gives the threads of the process, in no order. ErrGone when there is no such process.
func Threads(pid int) ([]int, error) { return proc.threads(pid) }

func (fs procfs) threads(pid int) (out []int, err error) {
	tasks, err := os.ReadDir(fs.path(pid, "task"))
	if err != nil {
		return nil, fmt.Errorf("list threads of process %d: %w", pid, procError(err))
	}
	for _, task := range tasks {
		if tid, err := strconv.Atoi(task.Name()); err == nil {
			out = append(out, tid)
		}
	}
	return out, nil
}

// Children gives the direct children of all threads of the process, in ascending order. ErrGone when there is no such
// process.
func Children(pid int) ([]int, error) { return proc.children(pid) }

func (fs procfs) children(pid int) ([]int, error) {
	threads, err := fs.threads(pid)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, tid := range threads {
		task := "task/" + strconv.Itoa(tid)
		text, err := fs.read(pid, task+"/children", maxText)
		if errors.Is(err, ErrGone) {
			if _, err := os.Stat(fs.path(pid, task+"/stat")); err != nil {
				continue // the thread has ended; its children have moved to another one, or will
			}
			return fs.scanChildren(pid) // a kernel without CONFIG_PROC_CHILDREN
		}
		if err != nil {
			return nil, err
		}
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				out = append(out, child)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// scanChildren asks every process for its parent.
func (fs procfs) scanChildren(pid int) ([]int, error) {
	all, err := os.ReadDir(string(fs))
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var out []int
	for _, entry := range all {
		child, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if s, err := fs.stat(child); err == nil && s.parent == pid {
			out = append(out, child)
		}
	}
	slices.Sort(out)
	return out, nil
}
