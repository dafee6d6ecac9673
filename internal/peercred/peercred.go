// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package peercred asks the system which user is at the other end of a Unix
// socket, and turns away those who should not be there.
//
//	ln = peercred.Listener(ln, uint32(os.Geteuid()))
package peercred

import (
	"fmt"
	"net"
	"slices"
)

// UID returns the user of the process that connected to us over c, or that has
// bound the socket that we have connected to.
func UID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var uid uint32
	ctlErr := raw.Control(func(fd uintptr) { uid, err = get(int(fd)) })
	if ctlErr != nil {
		return 0, ctlErr
	}
	if err != nil {
		return 0, fmt.Errorf("ask who is at the other end: %w", err)
	}
	return uid, nil
}

// Check returns an error unless the other end of c belongs to root or to one
// of uids.
func Check(c *net.UnixConn, uids ...uint32) error {
	uid, err := UID(c)
	if err != nil {
		return err
	}
	if uid != 0 && !slices.Contains(uids, uid) {
		return fmt.Errorf("the other end belongs to user %d, who has no business here", uid)
	}
	return nil
}

// Listener returns a listener that closes the connections of ln from users that
// are neither root nor among uids, without a word.
func Listener(ln *net.UnixListener, uids ...uint32) net.Listener {
	return &listener{ln, uids}
}

type listener struct {
	*net.UnixListener
	uids []uint32
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if Check(c, l.uids...) == nil {
			return c, nil
		}
		c.Close()
	}
}
