// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// A meeting is a bound upgrade socket.
type meeting struct {
	ln   *net.UnixListener
	path string
	info fs.FileInfo // of the file
}

// meet binds the upgrade socket, with permissions for its owner only.
func meet(ctx context.Context, cfg Config) (*meeting, error) {
	if err := clearPath(ctx, cfg); err != nil {
		return nil, err
	}
	const mode = 0o600
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { limitMode(fd, mode) })
	}}
	ln, err := lc.Listen(ctx, "unix", cfg.Path)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: the socket %s was made a moment ago", ErrBusy, cfg.Path)
	}
	if err != nil {
		return nil, err
	}
	m := &meeting{ln: ln.(*net.UnixListener), path: cfg.Path}
	m.ln.SetUnlinkOnClose(false) // close does it, if the file is still ours
	if m.info, err = os.Lstat(m.path); err == nil {
		err = os.Chmod(m.path, mode)
	}
	if err == nil && os.Geteuid() == 0 && len(cfg.Users) > 0 {
		err = os.Lchown(m.path, int(cfg.Users[0]), -1)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// close frees the upgrade socket.
func (m *meeting) close() {
	m.ln.Close()
	removeSame(m.path, m.info)
}

// clearPath makes sure that the upgrade socket can be bound: it removes one
// that an upgrade of ours has left behind, and nothing else.
func clearPath(ctx context.Context, cfg Config) error {
	info, err := os.Lstat(cfg.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, err := ownerOf(info)
	switch {
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is not a socket; it is left alone", cfg.Path)
	case !cfg.ours(owner):
		return fmt.Errorf("%s is a socket of user %d; it is left alone", cfg.Path, owner)
	}
	d := net.Dialer{Timeout: time.Second}
	nc, err := d.DialContext(ctx, "unix", cfg.Path)
	switch {
	case err == nil:
		defer nc.Close()
		cred, _ := peerCredentials(nc.(*net.UnixConn)) // only for the text
		return fmt.Errorf("%w: process %d waits at %s", ErrBusy, cred.PID, cfg.Path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return removeSame(cfg.Path, info)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("cannot tell whether another process waits at %s: %w", cfg.Path, err)
}

// removeSame removes a file unless another has taken its place. File systems
// may give the number of a removed file to the next one, so the time counts,
// too.
func removeSame(path string, info fs.FileInfo) error {
	now, err := os.Lstat(path)
	if err == nil && info != nil && os.SameFile(now, info) && now.ModTime().Equal(info.ModTime()) {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
