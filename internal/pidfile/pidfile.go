// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package pidfile keeps the process id of a running program in a file, and a
// lock on that file for as long as the process lives. So a file that was left
// behind is told from one whose process runs, whatever number is in it.
//
//	f, err := pidfile.Create("/run/belay/belay.pid", -1)
//	if running, ok := errors.AsType[*pidfile.RunningError](err); ok {
//		log.Fatalf("already running as process %d", running.PID)
//	}
//	defer f.Remove()
//
// Symbolic links are never followed, and the file never has a content that is
// half old, half new.
package pidfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mode are the permissions of a pid file.
const mode = 0o640

// ErrNotRunning is the error of Read if the process of the file has ended, or
// there is no file.
var ErrNotRunning = errors.New("not running")

// A RunningError says that the process of a pid file runs.
type RunningError struct {
	Path string
	PID  int // 0 if the file does not say
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("another instance is running as process %d (pid file %s)", e.PID, e.Path)
}

// A File is a pid file that this process keeps.
type File struct {
	path string
	pid  int
	f    *os.File

	stop    chan struct{} // closed by Remove
	locked  chan struct{} // closed when the lock is ours after Commit
	waiting sync.WaitGroup
}

// How often Create tries, and how long it waits in between.
const (
	tries = 10
	pause = 20 * time.Millisecond
)

// Create writes a pid file for this process, in the place of one that was left
// behind, and locks it. It returns a *RunningError if the process of the file
// runs. It refuses to replace what is not a plain file, or belongs to a user
// who is neither root, nor that of this process, nor owner.
func Create(path string, owner int) (*File, error) {
	f := &File{path: path, pid: os.Getpid(), stop: make(chan struct{})}
	var err error
	for i := range tries { // others may do the same at the same time
		f.f, err = f.create(owner, i < tries-1)
		running, taken := errors.AsType[*RunningError](err)
		// One that has ended may have been about to get the lock of the one
		// that it has replaced.
		if !errors.Is(err, errAgain) && !(taken && running.PID != 0 && !alive(running.PID)) {
			break
		}
		time.Sleep(pause) // a reader tries the lock for a moment
	}
	if err != nil {
		return nil, wrap(path, err)
	}
	return f, nil
}

// TakeOver opens the file of another process, which runs, for the time when
// this process replaces it: TakeOver changes nothing, Commit does. It opens the
// file now because the process may lose the right to do so. If the other
// process is not running, TakeOver is Create.
func TakeOver(path string, owner int) (*File, error) {
	f, err := Create(path, owner)
	if _, ok := errors.AsType[*RunningError](err); !ok {
		return f, err
	}
	file, err := open(path, os.O_RDWR, owner)
	if err != nil {
		return nil, wrap(path, err)
	}
	return &File{path: path, f: file, stop: make(chan struct{}), locked: make(chan struct{})}, nil
}

// Commit makes the file say the process id of this process, after TakeOver. The
// lock is taken as soon as the other process has ended or given it up.
func (f *File) Commit() error {
	if f == nil || f.pid != 0 {
		return nil
	}
	if err := f.write(os.Getpid()); err != nil {
		return err
	}
	f.pid = os.Getpid()
	f.waiting.Go(f.waitForLock)
	return nil
}

// GiveBack undoes Commit: the file says the process id of the other process
// again, which has not given up the lock.
func (f *File) GiveBack(pid int) error {
	if f == nil || f.f == nil || f.pid == 0 {
		return nil
	}
	f.pid = 0
	return f.write(pid)
}

// Reclaim makes the file, which this process keeps, say its process id again, if
// another process has changed that and then not taken over. It reports whether
// that was so.
func (f *File) Reclaim() (changed bool, err error) {
	if f == nil || f.f == nil || f.pid == 0 || !f.inPlace(f.f) {
		return false, nil
	}
	if pid, err := readPID(f.f); err == nil && pid == f.pid {
		return false, nil
	}
	return true, f.write(f.pid)
}

// write puts pid into the file. The new first line is complete before the rest
// of the old content goes: whoever reads in between reads the right number.
func (f *File) write(pid int) error {
	line := fmt.Appendf(nil, "%d\n", pid)
	if _, err := f.f.WriteAt(line, 0); err != nil {
		return wrap(f.path, err)
	}
	return wrap(f.path, f.f.Truncate(int64(len(line))))
}

// WaitLocked waits, after Commit, until the lock is ours: until then another
// process could take it. It reports false if it is not within limit.
func (f *File) WaitLocked(limit time.Duration) bool {
	if f == nil || f.locked == nil || f.pid == 0 {
		return true // Create has locked it, or it is not ours
	}
	select {
	case <-f.locked:
		return true
	case <-time.After(limit):
		return false
	}
}

// waitForLock takes the lock when it becomes free, until Remove.
func (f *File) waitForLock() {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for lock(f.f, unix.LOCK_EX) != nil {
		select {
		case <-tick.C:
		case <-f.stop:
			return
		}
	}
	close(f.locked)
}

// lockPoll is the time between two tries to take a lock over. Read allows for
// it.
const lockPoll = 5 * time.Millisecond

// Chown gives the file to a user and group, who this process is about to become.
func (f *File) Chown(uid, gid int) error {
	if f == nil {
		return nil
	}
	return wrap(f.path, f.f.Chown(uid, gid))
}

// Remove removes the file, unless another process has taken it over, and gives
// up the lock. Without the right to remove it, it empties it. A nil File does
// nothing, nor does the second call.
func (f *File) Remove() error {
	if f == nil || f.f == nil {
		return nil
	}
	close(f.stop)
	f.waiting.Wait()
	var err error
	if pid, _ := readPID(f.f); f.pid != 0 && pid == f.pid && f.inPlace(f.f) {
		if err = os.Remove(f.path); err != nil {
			err = f.f.Truncate(0)
		}
	}
	err = errors.Join(err, f.f.Close())
	f.f = nil
	return wrap(f.path, err)
}

// Read returns the process id in a file whose process runs. If it does not, or
// there is no file, it returns ErrNotRunning; the id is then that of the
// process that has ended, or 0.
func Read(path string) (pid int, err error) {
	// During an upgrade the lock is free for a moment.
	for range 4 {
		if pid, err = read(path); !errors.Is(err, ErrNotRunning) || pid == 0 || !alive(pid) {
			break
		}
		time.Sleep(10 * lockPoll)
	}
	return pid, err
}

func read(path string) (int, error) {
	f, err := open(path, os.O_RDONLY, -2)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, ErrNotRunning
	} else if err != nil {
		return 0, wrap(path, err)
	}
	defer f.Close()
	err = lock(f, unix.LOCK_SH)
	pid, readErr := readPID(f)
	switch {
	case readErr != nil:
		return 0, wrap(path, readErr)
	case err == nil || pid == 0:
		return pid, ErrNotRunning
	case errors.Is(err, syscall.EWOULDBLOCK):
		return pid, nil
	}
	return pid, wrap(path, err)
}

// alive reports whether there is a process with this id.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// errAgain says that something has changed meanwhile.
var errAgain = errors.New("it is being changed all the time")

// create makes the file once. If it is patient, it leaves a file alone that
// nobody has locked but whose process runs: that may be about to lock it, having
// just replaced another one.
func (f *File) create(owner int, patient bool) (*os.File, error) {
	old, err := open(f.path, os.O_RDWR, owner)
	if errors.Is(err, fs.ErrNotExist) {
		return f.place(os.Link)
	} else if err != nil {
		return nil, err
	}
	defer old.Close()
	if err := lock(old, unix.LOCK_EX); errors.Is(err, syscall.EWOULDBLOCK) {
		pid, _ := readPID(old)
		if lock(old, unix.LOCK_SH) == nil {
			return nil, errAgain // it was a reader that had it
		}
		return nil, &RunningError{f.path, pid}
	} else if err != nil {
		return nil, err
	}
	if !f.inPlace(old) {
		return nil, errAgain
	}
	if pid, err := readPID(old); patient && err == nil && pid != 0 && pid != f.pid && alive(pid) {
		return nil, errAgain
	}
	// As long as we hold the lock of the old file, nobody else replaces it.
	return f.place(os.Rename)
}

// place makes a file with another name and the lock held, and gives it its
// name with link or rename.
func (f *File) place(name func(from, to string) error) (*os.File, error) {
	file, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+".*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name()) // fails after a rename
	err = lock(file, unix.LOCK_EX)
	if err == nil {
		_, err = fmt.Fprintln(file, f.pid)
	}
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = name(file.Name(), f.path)
	}
	if err != nil {
		file.Close()
		if errors.Is(err, fs.ErrExist) {
			err = errAgain
		}
		return nil, err
	}
	return file, nil
}

// inPlace reports whether file is what the path leads to.
func (f *File) inPlace(file *os.File) bool {
	have, err := file.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(f.path)
	return err == nil && os.SameFile(have, now)
}

// open opens a pid file. It must be a plain file and belong to root, to the
// user of this process or to owner; owner -2 means that anybody may own it.
func open(path string, flag, owner int) (*os.File, error) {
	file, err := os.OpenFile(path, flag|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) {
		return nil, errors.New("is a symbolic link, which is not followed")
	} else if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a plain file")
	}
	if err == nil && owner != -2 {
		st := info.Sys().(*syscall.Stat_t) // on all Unix systems
		if uid := int(st.Uid); uid != 0 && uid != os.Geteuid() && uid != owner {
			err = fmt.Errorf("belongs to user %d", uid)
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// readPID returns the process id in a file, 0 if it is empty.
func readPID(f *os.File) (int, error) {
	b := make([]byte, 32)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return 0, nil
	}
	pid, err := strconv.Atoi(line)
	if err != nil || pid <= 1 && pid != os.Getpid() {
		return 0, fmt.Errorf("has %q in it, want a process id", line)
	}
	return pid, nil
}

// lock takes a lock that ends with the process, or before that when f is
// closed. It does not wait.
func lock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err != unix.EINTR {
			return err
		}
	}
}

// wrap says which file err is about.
func wrap(path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*RunningError](err); ok {
		return err
	}
	return fmt.Errorf("pid file %s: %w", path, err)
}
