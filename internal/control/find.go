// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/internal/pidfile"
)

// ErrNotRunning says that there is no such process.
var ErrNotRunning = errors.New("not running")

// SocketName returns the name of the control socket of a process, in the
// runtime directory of its program.
func SocketName(pid int) string { return fmt.Sprintf("control.%d.sock", pid) }

// A Target says which process is meant.
type Target struct {
	// Program is the name of the program.
	Program string

	// PIDFile is the pid file of the process. Empty means that it need not
	// have one.
	PIDFile string

	// PID is the id of the process. Zero means the only one of the program
	// that runs, apart from those that drain.
	PID int
}

// A NoSocketError says that a process runs, but has no control socket that we
// can reach.
type NoSocketError struct {
	PID     int
	PIDFile string // that names it
}

func (e *NoSocketError) Error() string {
	return fmt.Sprintf("process %d is running, but it has no control socket here: it can only be told by signals", e.PID)
}

// Signal sends a signal to the process. It does not if the process is younger
// than the pid file: then the one that is meant has ended, and another has got
// its number. The error is or wraps ErrNotRunning in that case, too.
func (e *NoSocketError) Signal(sig syscall.Signal) error {
	info, err := os.Lstat(e.PIDFile)
	if err != nil {
		return err
	}
	began, known := startTime(e.PID)
	if gonePID(e.PID) || known && began.After(info.ModTime().Add(clockSlack)) {
		return fmt.Errorf("%w: %s", ErrNotRunning, describe(e.PIDFile, e.PID))
	}
	if err := syscall.Kill(e.PID, sig); err != nil {
		return fmt.Errorf("process %d: %w", e.PID, err)
	}
	return nil
}

// Find returns a Client for a process, and its status. The error is or wraps
// ErrNotRunning if it does not run, and is a *NoSocketError if it runs by its
// pid file but cannot be spoken to.
func Find(ctx context.Context, t Target) (*Client, Status, error) {
	if t.PIDFile != "" {
		pid, err := pidfile.Read(t.PIDFile)
		if errors.Is(err, pidfile.ErrNotRunning) {
			return nil, Status{}, fmt.Errorf("%w: %s", ErrNotRunning, describe(t.PIDFile, pid))
		} else if err != nil {
			return nil, Status{}, err
		}
		t.PID = pid
	}
	found, err := t.search(ctx)
	switch {
	case len(found) == 1:
		return found[0].client, found[0].status, nil
	case len(found) > 1:
		return nil, Status{}, fmt.Errorf("several are running: processes %s; say which one is meant with --pid", pids(found))
	case err != nil:
		return nil, Status{}, err
	case t.PIDFile != "" && gonePID(t.PID):
		// Another one holds the file: the old process of an upgrade.
		return nil, Status{}, fmt.Errorf("%w: %s", ErrNotRunning, describe(t.PIDFile, t.PID))
	case t.PIDFile != "":
		return nil, Status{}, &NoSocketError{t.PID, t.PIDFile}
	case t.PID != 0:
		return nil, Status{}, fmt.Errorf("%w: no process %d of %s has a control socket", ErrNotRunning, t.PID, t.Program)
	}
	return nil, Status{}, fmt.Errorf("%w: no process of %s has a control socket in %s", ErrNotRunning,
		t.Program, strings.Join(Directories(t.Program), ", "))
}

// describe says what a pid file is worth.
func describe(path string, pid int) string {
	if pid == 0 {
		return "there is no pid file " + path
	}
	return fmt.Sprintf("process %d of the pid file %s has ended", pid, path)
}

// A process that was found.
type process struct {
	client *Client
	status Status
}

func pids(list []process) string {
	var b []string
	for _, p := range list {
		b = append(b, strconv.Itoa(p.status.PID))
	}
	return strings.Join(b, ", ")
}

// search returns the processes that fit: one if possible. The error says why
// one could not be asked.
func (t Target) search(ctx context.Context) (found []process, err error) {
	names := []string{t.Program}
	if t.PID != 0 {
		names = append(names, executableName(t.PID))
	}
	for _, socket := range sockets(names, t.PID) {
		c := NewClient(socket)
		st, statusErr := c.Status(ctx)
		switch {
		case statusErr == nil:
			found = append(found, process{c, st})
		case !gone(statusErr):
			err = statusErr
		}
	}
	// During an upgrade there are two, and after it the old one is still
	// there, for a while.
	best := len(phases)
	for _, p := range found {
		best = min(best, rank(p))
	}
	return slices.DeleteFunc(found, func(p process) bool { return rank(p) > best }), err
}

// phases are those of a process that is meant rather than others.
var phases = []string{"running", "upgrading", "starting"}

// rank returns how likely it is that a process is meant, 0 for the likeliest.
func rank(p process) int {
	if i := slices.Index(phases, p.status.Phase); i >= 0 {
		return i
	}
	return len(phases)
}

// gone reports whether err means that nobody is there.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// sockets returns the control sockets of programs, only that of pid if it is
// not zero.
func sockets(programs []string, pid int) []string {
	pattern := "control.*.sock"
	if pid != 0 {
		pattern = SocketName(pid)
	}
	var list []string
	for _, program := range programs {
		if program == "" {
			continue
		}
		for _, dir := range Directories(program) {
			matches, _ := filepath.Glob(filepath.Join(dir, pattern))
			list = append(list, matches...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Directories returns where the runtime directory of a program may be, by
// whomever it was started. For a command of the service manager, that is what
// the manager has made for the service.
func Directories(program string) []string {
	if made, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); made != "" {
		return []string{made}
	}
	uid := strconv.Itoa(os.Geteuid())
	dirs := []string{
		filepath.Join("/run", program),
		filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), program),
		filepath.Join("/run/user", uid, program),
		filepath.Join(os.TempDir(), program+"-"+uid),
	}
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return !filepath.IsAbs(d) })
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// executableName returns the name of the program that a process runs, "" if
// the system does not tell.
func executableName(pid int) string {
	path, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return ""
	}
	return filepath.Base(strings.TrimSuffix(path, " (deleted)"))
}

// WaitGone returns when there is no process pid any more, or it does nothing
// but wait for its parent to take note of its end, or ctx ends.
func WaitGone(ctx context.Context, pid int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !gonePID(pid) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// gonePID reports whether a process has ended.
func gonePID(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	// Where there is /proc, it tells of those that have ended, too. The name
	// of the program is in parentheses and may itself have some.
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

// owner returns the user that a file belongs to.
func owner(info fs.FileInfo) (uid uint32, ok bool) {
	if info == nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

// RemoveStale removes the control sockets in dir whose processes have ended
// without doing so.
func RemoveStale(dir string) {
	list, _ := filepath.Glob(filepath.Join(dir, "control.*.sock"))
	for _, path := range list {
		var pid int
		_, err := fmt.Sscanf(filepath.Base(path), "control.%d.sock", &pid)
		info, statErr := os.Lstat(path)
		if err != nil || statErr != nil || info.Mode().Type() != fs.ModeSocket || syscall.Kill(pid, 0) == nil {
			continue
		}
		c, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(path)
		}
	}
}
