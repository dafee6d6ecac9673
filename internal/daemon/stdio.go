// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Umask is the mask of the permissions that no file of a daemon has: others
// get none, and the group may not write. It is added to the mask that the
// daemon was started with.
const Umask = 0o027

// RestrictUmask adds Umask to the mask of the process.
func RestrictUmask() {
	old := syscall.Umask(Umask)
	syscall.Umask(old | Umask)
}

// OpenLog opens a file for appending, and makes it, with mode 0640, if it does
// not exist. A symbolic link is not followed, save /dev/stdout and /dev/stderr,
// which stand for the descriptors. A FIFO need not have a reader.
func OpenLog(path string) (*os.File, error) {
	switch path {
	case "/dev/stdout":
		return duplicate(1, path)
	case "/dev/stderr":
		return duplicate(2, path)
	}
	flags := os.O_WRONLY
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == os.ModeNamedPipe {
		flags = os.O_RDWR // else it would wait for a reader
	}
	f, err := os.OpenFile(path, flags|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NOCTTY, 0o640)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.EMLINK) {
		return nil, fmt.Errorf("%s is a symbolic link, which is not followed", path)
	}
	return f, err
}

// duplicate returns a second descriptor for an open file.
func duplicate(fd int, name string) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return os.NewFile(uintptr(n), name), nil
}

// Redirect makes f the standard output and error of the process, in one step:
// nothing that is written meanwhile is lost. It leaves f open.
func Redirect(f *os.File) error {
	for fd := 1; fd <= 2; fd++ {
		if err := unix.Dup2(int(f.Fd()), fd); err != nil {
			return fmt.Errorf("redirect output to %s: %w", f.Name(), err)
		}
	}
	return nil
}

// Silence makes the null device the standard output and error, except for what
// leads to the journal of the service manager: nobody waits for its end, as a
// terminal or a shell might.
func Silence() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := 1; fd <= 2; fd++ {
		if isJournal(fd) {
			continue
		}
		if err := unix.Dup2(int(null.Fd()), fd); err != nil {
			return err
		}
	}
	return nil
}

// isJournal reports whether a descriptor leads to the journal; see
// $JOURNAL_STREAM in systemd.exec(5).
func isJournal(fd int) bool {
	dev, ino, ok := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	var st unix.Stat_t
	if !ok || unix.Fstat(fd, &st) != nil {
		return false
	}
	return fmt.Sprint(st.Dev) == dev && fmt.Sprint(st.Ino) == ino
}
