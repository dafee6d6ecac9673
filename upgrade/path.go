// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// DefaultPath returns the upgrade socket of a program that is not told where
// to have it: upgrade.sock in its RuntimeDir.
func DefaultPath(program string) (string, error) {
	dir, err := RuntimeDir(program)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "upgrade.sock"), nil
}

// RuntimeDir returns a directory for the sockets and the like of a running
// program, which no other user can write to. It is the first that can be used
// of
//
//	$RUNTIME_DIRECTORY            if the service manager has made one
//	/run/<program>                made if need be, and if this is root
//	$XDG_RUNTIME_DIR/<program>    or /run/user/<uid> if that is not set
//	/tmp/<program>-<uid>          or wherever temporary files are
//
// so that a program finds the same however it was started.
func RuntimeDir(program string) (string, error) {
	uid := os.Geteuid()
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" && private(dir, uid) == nil {
		return dir, nil
	}
	return runtimeDir(program, uid, "/run", os.Getenv("XDG_RUNTIME_DIR"), os.TempDir())
}

func runtimeDir(program string, uid int, run, xdg, tmp string) (string, error) {
	if program == "" || program == "." || program == ".." || strings.ContainsRune(program, filepath.Separator) {
		return "", fmt.Errorf("%q is no name for a directory", program)
	}
	if xdg == "" {
		xdg = filepath.Join(run, "user", fmt.Sprint(uid))
	}
	var errs []error
	for _, d := range []struct {
		parent, name string
		create       bool
	}{
		{run, program, uid == 0},
		{xdg, program, filepath.IsAbs(xdg) && private(xdg, uid) == nil},
		{tmp, fmt.Sprintf("%s-%d", program, uid), true},
	} {
		dir := filepath.Join(d.parent, d.name)
		if d.create {
			if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				errs = append(errs, err)
				continue
			}
		}
		err := private(dir, uid)
		if err == nil {
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("there is no private directory for sockets: %w", errors.Join(errs...))
}

// private returns an error unless dir is a directory of uid that nobody else
// can write to.
func private(dir string, uid int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, err := ownerOf(info)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case int64(owner) != int64(uid):
		return fmt.Errorf("%s belongs to user %d, want %d", dir, owner, uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written to by others: its mode is %#o", dir, info.Mode().Perm())
	}
	return nil
}

// ownerOf returns the user that a file belongs to.
func ownerOf(info fs.FileInfo) (uint32, error) {
	sys, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("the system does not tell the owners of files")
	}
	return sys.Uid, nil
}
