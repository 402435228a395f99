package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"apm-ebpf/internal/probe"
	"apm-ebpf/internal/target"
)

// services are the targets: those named on the command line and their descendants.
type services struct {
	probe   *probe.Probe
	options *options
	log     zerolog.Logger
	known   map[int]*service
	recent  *service         // the last of them that was asked for
	born    map[int]*service // children that were not looked at yet
	young   map[int]*visit   // processes that are still to be recognised, or may load OpenSSL yet
	goTold  map[string]bool  // libraries built with Go that were told of
	refused time.Time        // when it was last told that one is not profiled which could be
}

// visit is a process to be looked at, again and again until it has become something.
type visit struct {
	first, due time.Time
	wait       time.Duration
	worked     bool // it was looked at because it was at work
}

const (
	firstVisit   = 20 * time.Millisecond // a child that is about to call exec has done so, mostly
	youth        = 2 * time.Second       // while a server may start and get its first request, which must not be missed
	lastVisit    = 30 * time.Second      // a Python that takes longer to start is none
	rootPatience = 10 * time.Second      // for a process that was named, before anything is profiled
	tlsVisit     = 200 * time.Millisecond
	refusedEvery = time.Minute // between warnings: a service may start helpers without end
)

// addRoot makes a process and its descendants targets. Unlike a descendant, it must be one that can be, or have one.
func (ss *services) addRoot(pid int) error {
	if ss.known[pid] != nil { // as the descendant of another root
		return nil
	}
	err := ss.add(pid)
	if errors.Is(err, target.ErrNotReady) {
		err = ss.awaitRoot(pid, err)
	}
	if isUnsupported(err) {
		err = ss.addBelow(pid, err)
	}
	switch {
	case errors.Is(err, target.ErrGone):
		return fmt.Errorf("%w: give the id of a process that runs, as ps tells it on the host itself, not inside a container", err)
	case isUnsupported(err):
		return err // which says all of it
	case err != nil:
		return fmt.Errorf("process %d cannot be profiled: %w", pid, err)
	}
	if s := ss.known[pid]; s != nil {
		ss.expectTLS(s, time.Now())
	}
	return ss.addChildren(pid)
}

func isUnsupported(err error) bool { return errors.As(err, new(*target.Unsupported)) }

// awaitRoot waits until an interpreter has started, in the process or in a descendant: Apache's master has none, its
// workers have. The error is why it is not ready.
func (ss *services) awaitRoot(pid int, err error) error {
	for patience := time.Now().Add(rootPatience); errors.Is(err, target.ErrNotReady) && time.Now().Before(patience); {
		if found, err := ss.follow(pid); err != nil || found {
			return err
		}
		time.Sleep(firstVisit)
		err = ss.add(pid)
	}
	return err
}

// addBelow makes targets of the descendants of a process that cannot be one itself, as a shell, the init of a container or
// the loader of a bundled program. They may be starting. Where there are none the error is why the process is none.
func (ss *services) addBelow(pid int, why error) error {
	for patience := time.Now().Add(rootPatience); ; {
		if found, err := ss.follow(pid); err != nil || found {
			return err
		}
		if len(ss.young) == 0 || time.Now().After(patience) {
			return why
		}
		time.Sleep(firstVisit)
	}
}

// follow makes targets of the descendants, now and later, of a process that is none, and tells whether there are any new.
func (ss *services) follow(pid int) (found bool, err error) {
	if err := ss.probe.Follow(pid); err != nil {
		return false, err
	}
	others := len(ss.known)
	err = ss.addChildren(pid)
	return len(ss.known) > others, err
}

func (ss *services) add(pid int) error {
	before := ss.born[pid]
	s, err := newService(pid, ss.options, before)
	if err != nil {
		return err
	}
	attach := ss.addPython
	if s.golang != nil {
		attach = ss.addGo
	}
	if s.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		err = fmt.Errorf("watch process %d: %w", pid, err)
	} else {
		err = attach(s)
	}
	if err != nil {
		if s.hasEnded() {
			err = fmt.Errorf("%w: %w", target.ErrGone, err)
		}
		s.close()
		return err
	}
	if before != nil {
		s.grows(before)
	}
	ss.known[pid], ss.recent = s, nil
	delete(ss.born, pid)
	ss.findLanes(s, time.Now())
	ss.log.Info().Int("pid", pid).Str("runtime", s.runtime).Str("service", s.name).Msg("profiling process")
	return nil
}

// warn tells what cannot be seen of a service, unless that is because it has ended.
func (ss *services) warn(s *service, err error, message string) {
	if !gone(err) {
		ss.log.Warn().Int("pid", s.process.PID).Err(err).Msg(message)
	}
}

// gone tells the errors of a process that has ended.
func gone(err error) bool { return errors.Is(err, target.ErrGone) || errors.Is(err, unix.ESRCH) }

// addChildren adds what descends from a process now; later children the kernel programs add themselves.
func (ss *services) addChildren(pid int) error {
	children, err := target.Children(pid)
	if err != nil && !errors.Is(err, target.ErrGone) {
		return fmt.Errorf("find the children of process %d: %w", pid, err)
	}
	for _, child := range children {
		if ss.known[child] == nil {
			if err := ss.probe.Follow(child); err != nil {
				return err
			}
			if parent := ss.known[pid]; parent != nil && parent.golang == nil {
				ss.born[child] = parent.child()
			}
			ss.look(child, time.Now())
			delete(ss.born, child)
		}
		if err := ss.addChildren(child); err != nil {
			return err
		}
	}
	return nil
}

// look adds a process if it can be profiled. It tells what became of it.
func (ss *services) look(pid int, now time.Time) *service {
	err := ss.add(pid)
	switch {
	case err == nil:
		delete(ss.young, pid)
		ss.expectTLS(ss.known[pid], now)
		return ss.known[pid]
	case errors.Is(err, target.ErrNotReady):
		ss.later(pid, now)
	default:
		delete(ss.young, pid)
		level := zerolog.DebugLevel
		if !isUnsupported(err) && !gone(err) && now.Sub(ss.refused) >= refusedEvery {
			level, ss.refused = zerolog.WarnLevel, now
		}
		ss.log.WithLevel(level).Int("pid", pid).Err(err).Msg("process is not profiled")
	}
	return nil
}

// later notes that a process is to be looked at soon, and less and less often when it is not young any more.
func (ss *services) later(pid int, now time.Time) {
	v := ss.young[pid]
	if v == nil {
		v = &visit{first: now, wait: firstVisit}
		ss.young[pid] = v
	}
	if now.Sub(v.first) > youth {
		v.wait = min(2*v.wait, time.Second)
	}
	v.due = now.Add(v.wait)
	if v.due.Sub(v.first) > lastVisit {
		delete(ss.young, pid)
	}
}

// visits looks at the processes that are due.
func (ss *services) visits(now time.Time) {
	for pid, v := range ss.young {
		switch s := ss.known[pid]; {
		case v.due.After(now):
		case s != nil:
			ss.findTLS(s)
			ss.expectTLS(s, now)
		default:
			ss.look(pid, now)
		}
	}
}

// nextVisit tells how long it is until a process is due.
func (ss *services) nextVisit(now time.Time) time.Duration {
	next := idlePoll
	for _, v := range ss.young {
		next = min(next, max(v.due.Sub(now), 0))
	}
	return next
}

// find gives the service of a known process, else nil.
func (ss *services) find(pid uint32) *service {
	if ss.recent == nil || ss.recent.process.PID != int(pid) {
		ss.recent = ss.known[int(pid)]
	}
	return ss.recent
}

// seen gives the service of a process, be it one that stands for it until it is looked at.
func (ss *services) seen(pid uint32) *service {
	if s := ss.find(pid); s != nil {
		return s
	}
	return ss.born[int(pid)]
}

// goService gives what a process has if it is a known one of Go, else nil.
func (ss *services) goService(pid uint32) *goService {
	if s := ss.find(pid); s != nil {
		return s.golang
	}
	return nil
}

// anyGo tells that a known process is one of Go.
func (ss *services) anyGo() bool {
	for _, s := range ss.known {
		if s.golang != nil {
			return true
		}
	}
	return false
}

// of gives the service of a process, recognising it at once if it is at work before its first visit.
func (ss *services) of(pid uint32) *service {
	if s := ss.find(pid); s != nil {
		return s
	}
	if v := ss.young[int(pid)]; v != nil && !v.worked {
		v.worked = true
		if s := ss.look(int(pid), time.Now()); s != nil {
			return s
		}
	}
	return ss.born[int(pid)]
}

func (ss *services) forked(pid, parent uint32) {
	s := ss.known[int(parent)]
	if s == nil {
		s = ss.born[int(parent)]
	}
	if s != nil {
		ss.born[int(pid)] = s.child()
	}
	ss.later(int(pid), time.Now())
}

// forget drops a process that has ended or runs another program now.
func (ss *services) forget(pid int) {
	if s := ss.known[pid]; s != nil {
		ss.log.Debug().Int("pid", pid).Msg("process or its program ended")
		s.close()
	}
	delete(ss.known, pid)
	ss.recent = nil
	delete(ss.born, pid)
	delete(ss.young, pid)
	ss.probe.Release(pid)
}

// untold gives the processes that had ended at the last call already, and whose end no event has told since.
func (ss *services) untold() (pids []int) {
	for pid, s := range ss.known {
		if s.ended {
			pids = append(pids, pid)
		}
		s.ended = s.hasEnded()
	}
	for pid, s := range ss.born {
		if s.ended {
			pids = append(pids, pid)
		}
		s.ended = errors.Is(unix.Kill(pid, 0), unix.ESRCH)
	}
	return pids
}

// gone tells that no target is left, nor anything that may become one.
func (ss *services) gone() bool { return len(ss.known) == 0 && len(ss.young) == 0 }

// pids are the known targets, in order.
func (ss *services) pids() (pids []int) {
	for pid := range ss.known {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids
}
