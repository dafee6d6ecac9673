// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
)

// An Identity is who a process continues as.
type Identity struct {
	UID    int // -1: the user stays
	GID    int
	Groups []int // all, GID included
}

// LookUp returns the Identity for the names, or numbers, of a user and a group.
// Without a group it is the user's own, and a number that stands for no known
// user then is that of the group, too. A known user is in all his groups.
// LookUp returns nil if both names are empty.
func LookUp(userName, groupName string) (*Identity, error) {
	if userName == "" && groupName == "" {
		return nil, nil
	}
	id := &Identity{UID: -1, GID: -1}
	var errs []error
	if userName != "" {
		errs = append(errs, id.lookUpUser(userName))
	}
	if groupName != "" {
		errs = append(errs, id.lookUpGroup(groupName))
	}
	if !slices.Contains(id.Groups, id.GID) {
		id.Groups = append([]int{id.GID}, id.Groups...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return id, nil
}

// lookUpUser sets the user, with the own group first among Groups.
func (id *Identity) lookUpUser(name string) error {
	u, err := user.Lookup(name)
	n, notNumber := strconv.ParseUint(name, 10, 31)
	if err != nil && notNumber == nil {
		if u, err = user.LookupId(name); err != nil {
			id.UID, id.GID = int(n), int(n) // in a container without /etc/passwd
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("user %q: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of user %q: %w", name, err)
	}
	if id.UID, err = strconv.Atoi(u.Uid); err == nil {
		id.GID, err = strconv.Atoi(u.Gid)
	}
	for _, g := range groups {
		n, numErr := strconv.Atoi(g)
		err = errors.Join(err, numErr)
		id.Groups = append(id.Groups, n)
	}
	return err
}

// lookUpGroup sets the group, in the place of the user's own.
func (id *Identity) lookUpGroup(name string) error {
	own := id.GID
	n, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		g, err := user.LookupGroup(name)
		if err != nil {
			return fmt.Errorf("group %q: %w", name, err)
		}
		if n, err = strconv.ParseUint(g.Gid, 10, 31); err != nil {
			return fmt.Errorf("group %q: %w", name, err)
		}
	}
	id.GID = int(n)
	id.Groups = slices.DeleteFunc(id.Groups, func(g int) bool { return g == own })
	return nil
}

// Become makes all threads of the process continue as id, for good: it checks
// that there is no way back. On Linux, programs that it starts gain no rights
// either, by set-user-ID bits for example (no_new_privs). If the process is id
// already, or id is nil, nothing is done.
func (id *Identity) Become() error {
	if id == nil || id.isCurrent() {
		return nil
	}
	if err := syscall.Setgroups(id.Groups); err != nil {
		return fmt.Errorf("set groups to %v: %w", id.Groups, err)
	}
	if err := syscall.Setgid(id.GID); err != nil {
		return fmt.Errorf("set group to %d: %w", id.GID, err)
	}
	if id.UID < 0 {
		return nil
	}
	if err := syscall.Setuid(id.UID); err != nil {
		return fmt.Errorf("set user to %d: %w", id.UID, err)
	}
	if id.UID != 0 && syscall.Setuid(0) == nil {
		return errors.New("set user: root could be regained")
	}
	return noNewPrivileges()
}

// isCurrent reports whether the process has the user and group of id and no
// right to change them.
func (id *Identity) isCurrent() bool {
	return os.Geteuid() != 0 && os.Getgid() == id.GID && (id.UID < 0 || os.Getuid() == id.UID)
}
