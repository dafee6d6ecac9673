// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/internal/daemon"
	"github.com/belay-proxy/belay/internal/pidfile"
	"github.com/belay-proxy/belay/internal/sdnotify"
	"github.com/belay-proxy/belay/upgrade"
)

// A host is what a running server is to the rest of the system: a process with
// a user, a pid file, a log, a service manager, and sockets to be asked on.
type host struct {
	*Server
	run      *run
	began    time.Time
	identity *daemon.Identity // to become; nil: stay
	child    *daemon.Child    // nil in the foreground
	pidFile  *pidfile.File    // nil in the foreground
	pidPath  string           // likewise ""
	notifier *sdnotify.Notifier

	control *httpServer // nil if there is none
	admin   *httpServer // likewise

	inheritedAdmin net.Listener // of the process that this one replaces; nil if there is none

	speaks     atomic.Bool // for the service: it is the process that the service manager listens to
	succeeded  bool        // succeed has been called; used by Run's goroutine only
	superseded atomic.Bool // another process has taken over
	adminTaken atomic.Bool // and the admin listener, too; set first

	stop    context.CancelFunc // ends work
	work    sync.WaitGroup     // signs of life, reloads
	working context.Context
}

// enter makes the process what the settings ask for, as far as that comes
// before the listeners are bound. leave undoes it, after an error, too.
func (s *Server) enter(child *daemon.Child, services []*Service) (*host, error) {
	h := &host{Server: s, began: time.Now(), child: child, notifier: sdnotify.New()}
	h.speaks.Store(!s.cfg.Options.Upgrade)
	h.working, h.stop = context.WithCancel(context.Background())
	err := h.enter(services)
	if err != nil {
		h.leave()
		return nil, err
	}
	return h, nil
}

func (h *host) enter(services []*Service) (err error) {
	if h.identity, err = daemon.LookUp(h.settings.User, h.settings.Group); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if h.child != nil {
		if err := h.becomeDaemon(); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	} else if h.settings.ErrorLog == "/dev/stdout" {
		if err := h.openLog(); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	}
	return h.setLimits(services)
}

// occupy makes what others find the process by, and then gives up its rights.
// It is called when all listeners are bound.
func (h *host) occupy(r *run) error {
	h.run = r
	if h.cfg.Signals == nil { // else the process is not ours to be controlled
		if err := h.openControl(); err != nil {
			h.log.Warn("there is no control socket", "err", err)
		}
	}
	if err := h.openAdmin(); err != nil {
		return fmt.Errorf("server: admin listener: %w", err)
	}
	if h.identity == nil {
		return nil
	}
	if err := h.pidFile.Chown(h.identity.UID, h.identity.GID); err != nil && os.Geteuid() == 0 {
		return fmt.Errorf("server: %w", err)
	}
	if err := h.identity.Become(); errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("server: continue as another user: only root can do that: %w", err)
	} else if err != nil {
		return fmt.Errorf("server: continue as another user: %w", err)
	}
	h.log.Info("rights given up", "uid", os.Getuid(), "gid", os.Getgid())
	return nil
}

// succeed makes this process, in the place of the one that it replaces, the
// one that the pid file is about and that speaks to the service manager. The
// other one may end as soon as succeed has returned.
func (h *host) succeed() {
	h.succeeded = true
	h.speaks.Store(true)
	if err := h.pidFile.Commit(); err != nil {
		h.log.Error("the pid file is not up to date", "err", err)
	}
	h.tell(func(n *sdnotify.Notifier) error { return n.Ready(h.statusIn(PhaseRunning)) })
}

// concede takes back what succeed has done, if it has: process pid serves on.
func (h *host) concede(pid int) {
	if !h.succeeded {
		return
	}
	if err := h.pidFile.GiveBack(pid); err != nil {
		h.log.Error("the pid file is wrong: another process serves on", "err", err, "pid", pid)
	}
	h.tell(func(n *sdnotify.Notifier) error { return n.MainPID(pid) })
	h.speaks.Store(false)
}

// remain makes sure that the pid file and the service manager know of this
// process, which serves on: a new one may have died when it had told them of
// itself already.
func (h *host) remain() {
	changed, err := h.pidFile.Reclaim()
	if err != nil {
		h.log.Error("the pid file is not up to date", "err", err)
	}
	if changed {
		h.log.Warn("the pid file had the new process; it has this one again")
	}
	h.tell(func(n *sdnotify.Notifier) error { return n.MainPID(os.Getpid()) })
}

// lockLimit is how long a process waits for the lock of the pid file, which the
// one that it has replaced is about to give up.
const lockLimit = 5 * time.Second

// ready tells everybody that waits that the process accepts connections.
func (h *host) ready() {
	h.openInherited()
	if h.child != nil && h.settings.ErrorLog == "" {
		if err := daemon.Silence(); err != nil {
			h.log.Warn("standard output stays open", "err", err)
		}
	}
	if !h.succeeded {
		h.tell(func(n *sdnotify.Notifier) error { return n.Ready(h.statusLine()) })
	}
	if !h.pidFile.WaitLocked(lockLimit) {
		h.log.Warn("the pid file is not locked yet: the old process still has the lock")
	}
	if err := h.child.Ready(); err != nil {
		h.log.Warn("the command that started the daemon could not be told", "err", err)
	}
	if interval, ok := sdnotify.WatchdogInterval(); ok && h.notifier != nil {
		h.work.Go(func() { h.keepAlive(h.working, interval) })
	}
}

// draining tells the service manager that the process is about to end, unless
// that is because another one has taken over.
func (h *host) draining() {
	h.tell(func(n *sdnotify.Notifier) error { return n.Stopping(h.statusLine()) })
}

// supersede notes that another process has taken over: it is the one that the
// service manager hears from now, and that the pid file is about. The lock of
// that goes with it, so that the service can be started again if the new process
// dies before this one has ended.
func (h *host) supersede() {
	h.superseded.Store(true)
	h.speaks.Store(false)
	h.leavePIDFile()
}

// leave ends what the process has for others to find it by.
func (h *host) leave() {
	h.stop()
	h.work.Wait()
	for _, s := range []*httpServer{h.control, h.admin} {
		s.close()
	}
	h.leavePIDFile()
}

// leavePIDFile removes the pid file, unless another process has written its
// number into it, and gives up the lock. The second call does nothing.
func (h *host) leavePIDFile() {
	if err := h.pidFile.Remove(); err != nil {
		h.log.Warn("the pid file could not be removed", "err", err)
	}
}

// runtimeDir returns the private directory of the program. If the process is
// about to become another user, that one may look for files in it that it knows
// the names of.
func (h *host) runtimeDir() (string, error) {
	dir, err := upgrade.RuntimeDir(programName())
	if err == nil && h.identity != nil && os.Geteuid() == 0 {
		err = os.Chmod(dir, 0o711)
	}
	return dir, err
}

// closeBoth closes a listener that could not be used.
func closeBoth(ln net.Listener, err error) error { return errors.Join(err, ln.Close()) }

// absolute returns path from the directory in which the process was started. A
// daemon may leave that.
func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) || dir == "" {
		return path
	}
	return filepath.Join(dir, path)
}
