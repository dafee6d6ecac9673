// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// A socketFile is the file of a Unix socket that we have bound.
type socketFile struct {
	path string
	info fs.FileInfo
}

// bindUnix binds a Unix socket at path with the permissions mode. The file is
// nil for an abstract socket.
func bindUnix(ctx context.Context, lc net.ListenConfig, path string, mode fs.FileMode) (net.Listener, *socketFile, error) {
	abstract := strings.HasPrefix(path, "@")
	if !abstract {
		if err := removeStale(ctx, path); err != nil {
			return nil, nil, err
		}
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil || abstract {
		return ln, nil, err
	}
	// We remove the file ourselves, if it is still ours.
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	f := &socketFile{path: path}
	if f.info, err = os.Lstat(path); err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close(), f.remove())
	}
	return ln, f, nil
}

// removeStale removes the socket at path if nobody listens on it.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("there is a file at %s that is not a socket", path)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("another process listens there: %w", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		return (&socketFile{path, info}).remove()
	default: // a full backlog (EAGAIN), for example
		return fmt.Errorf("cannot tell whether another process listens there: %w", err)
	}
}

// remove removes the file unless another has taken its place. File systems may
// give the number of a removed file to the next one, so the time counts, too.
func (f *socketFile) remove() error {
	if f == nil || f.info == nil {
		return nil
	}
	now, err := os.Lstat(f.path)
	if err == nil && os.SameFile(now, f.info) && now.ModTime().Equal(f.info.ModTime()) {
		err = os.Remove(f.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
