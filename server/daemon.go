// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/belay-proxy/belay/internal/daemon"
	"github.com/belay-proxy/belay/internal/pidfile"
	"github.com/belay-proxy/belay/internal/sdnotify"
)

// isDaemon reports whether the server is to run in the background.
func (s *Server) isDaemon() bool { return s.cfg.Options.Daemon || s.settings.Daemon }

// waitsForDaemon reports whether the command that starts a daemon waits until
// that is ready.
func (s *Server) waitsForDaemon() bool {
	wait := s.settings.DaemonWaitForReady
	return wait == nil || *wait || os.Getenv(daemon.WaitEnv) != ""
}

// startDaemon starts the program once more, in the background, and waits until
// it is ready, unless the settings say not to. An interrupt ends both. SIGQUIT
// has no effect.
func (s *Server) startDaemon(ctx context.Context) error {
	if os.Getpid() == 1 {
		return errors.New("server: running in the background makes no sense for process 1: a container ends with it; leave out -d and daemon: true")
	}
	if _, err := daemon.LookUp(s.settings.User, s.settings.Group); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	sockets, err := sdnotify.Sockets()
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// It is the running process that is meant, when all of this name get it.
	notMeant := make(chan os.Signal, 1)
	signal.Notify(notMeant, syscall.SIGQUIT)
	defer signal.Stop(notMeant)
	pid, err := daemon.Start(ctx, daemon.Config{
		NoWait:  !s.waitsForDaemon(),
		Timeout: s.settings.DaemonReadyTimeout,
		Sockets: sockets,
	})
	for _, socket := range sockets {
		socket.File.Close()
	}
	if err != nil {
		return err
	}
	s.log.Debug("daemon started", "pid", pid)
	return nil
}

// becomeDaemon does what only a daemon does: it changes umask and directory,
// writes the pid file, and opens the log.
func (h *host) becomeDaemon() error {
	daemon.RestrictUmask()
	if err := h.writePIDFile(); err != nil {
		return err
	}
	if err := h.openLog(); err != nil {
		return err
	}
	h.hasLog = h.settings.ErrorLog != ""
	if !h.waitsForDaemon() && h.settings.ErrorLog == "" {
		if err := daemon.Silence(); err != nil { // nobody is there to look
			return err
		}
	}
	if dir := h.settings.WorkingDirectory; dir != "" {
		if err := os.Chdir(dir); err != nil {
			return fmt.Errorf("working_directory: %w", err)
		}
	}
	return nil
}

// writePIDFile writes the pid file, or in an upgrade opens the one that is to
// be taken over.
func (h *host) writePIDFile() (err error) {
	h.pidPath = h.settings.PIDFile
	if h.pidPath == "" {
		dir, err := h.runtimeDir()
		if err != nil {
			return err
		}
		h.pidPath = filepath.Join(dir, programName()+".pid")
	}
	h.pidPath = absolute(h.startDir, h.pidPath)
	owner := -1
	if h.identity != nil {
		owner = h.identity.UID
	}
	create := pidfile.Create
	if h.cfg.Options.Upgrade {
		create = pidfile.TakeOver
	}
	h.pidFile, err = create(h.pidPath, owner)
	return err
}

// openLog makes error_log, if there is one, the standard error of the process,
// and of a daemon the standard output. If it is open already, it is opened
// again: the file may have been renamed.
func (h *host) openLog() error {
	path := absolute(h.startDir, h.Settings().ErrorLog)
	if path == "" {
		return nil
	}
	f, err := daemon.OpenLog(path)
	if err != nil {
		return fmt.Errorf("error_log: %w", err)
	}
	defer f.Close()
	if err := h.giveLog(f); err != nil {
		return fmt.Errorf("error_log: %w", err)
	}
	return daemon.Redirect(f)
}

// giveLog gives the log to the user that the process is about to become, so
// that it can be opened again. A file with several names may be more than a log.
func (h *host) giveLog(f *os.File) error {
	if h.identity == nil || os.Geteuid() != 0 {
		return nil
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Nlink > 1 {
		return nil
	}
	return f.Chown(h.identity.UID, h.identity.GID)
}

// OnReopen has f called on SIGUSR1, when files that are written to have been
// renamed and are to be opened again. Its error is logged; what is written then
// is to go on where it was. f may be called several times at once. OnReopen is
// to be called before Run.
func (s *Server) OnReopen(name string, f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reopeners = append(s.reopeners, reopener{name, f})
}

// A reopener is a part of the program that writes to a file.
type reopener struct {
	name string
	f    func() error
}

// reopenLogs opens error_log again, and what the program writes to, for
// SIGUSR1.
func (h *host) reopenLogs() {
	hasLog := h.Settings().ErrorLog != "" && h.child != nil
	if !hasLog && len(h.reopeners) == 0 {
		h.log.Info("there is no log to be opened again: only a daemon with error_log has one")
	}
	if hasLog {
		h.reopen("log", h.openLog)
	}
	for _, part := range h.reopeners { // these may be slow, and signals go on
		h.work.Go(func() { h.reopen(part.name, part.f) })
	}
}

func (h *host) reopen(name string, f func() error) {
	if err := f(); err != nil {
		h.log.Error("the "+name+" could not be opened again; it goes on where it was", "err", err)
		return
	}
	h.log.Info(name + " opened again")
}
