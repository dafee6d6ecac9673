// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

// The bounds of what one process can hand to another.
const (
	MaxSockets   = 16 << 10 // listening sockets
	MaxName      = 1000     // bytes in the name or address of a socket, or the name of a state
	MaxStates    = 4 << 10  // entries in Cargo.State
	MaxState     = 16 << 20 // bytes of one of them
	MaxStateSum  = 64 << 20 // bytes of all of them
	MaxMessage   = 64 << 10 // bytes in a message
	perMessage   = 32       // sockets in a message; the system allows 253
	maxReason    = 1 << 10  // bytes of text in a "fail" message
	version      = 1        // of the protocol
	helloTimeout = 2 * time.Second
	cargoTimeout = 30 * time.Second
	mineTimeout  = 10 * time.Second
)

// Errors that callers want to tell apart.
var (
	// ErrNobody says that the other process did not appear in time.
	ErrNobody = errors.New("the other process did not appear")

	// ErrBusy says that another process waits at the upgrade socket already:
	// an upgrade is under way.
	ErrBusy = errors.New("another upgrade is under way")
)

// A Socket is a listening socket that is handed over.
type Socket struct {
	Name string   // of the listener
	Addr string   // that the listener was configured with
	File *os.File // a copy of its own, non-blocking

	// Shared says that a third process has the socket, too, and owns the
	// file of a Unix socket: the service manager.
	Shared bool
}

// A Cargo is what one process hands to another.
type Cargo struct {
	Sockets []Socket

	// State is what parts of the program want to keep, by their names.
	State map[string][]byte
}

// A StateKeeper is a part of a program with state that is worth keeping when
// the program is replaced by its new version.
type StateKeeper interface {
	// SaveState returns the state. It is called in the old process while
	// that is still at work.
	SaveState() ([]byte, error)

	// RestoreState takes over what SaveState of another process returned. It
	// is called before the new process does any work. An older or newer
	// version of the program may have written the state: what cannot be used
	// is an error, without effect, and the program starts without it.
	RestoreState(state []byte) error
}

// Close closes the files of all sockets.
func (c Cargo) Close() {
	for _, s := range c.Sockets {
		s.File.Close()
	}
}

// validate returns what is wrong with c.
func (c Cargo) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(c.Sockets) <= MaxSockets, "%d sockets, want at most %d", len(c.Sockets), MaxSockets)
	for _, s := range c.Sockets {
		check(len(s.Name) <= MaxName && len(s.Addr) <= MaxName, "socket %.50q: name or address longer than %d bytes", s.Name, MaxName)
	}
	check(len(c.State) <= MaxStates, "%d states, want at most %d", len(c.State), MaxStates)
	sum := 0
	for name, data := range c.State {
		check(len(name) <= MaxName, "state %.50q: name longer than %d bytes", name, MaxName)
		check(len(data) <= MaxState, "state %q: %d bytes, want at most %d", name, len(data), MaxState)
		sum += len(data)
	}
	check(sum <= MaxStateSum, "%d bytes of state, want at most %d", sum, MaxStateSum)
	return errors.Join(errs...)
}

// Config says how two processes meet. Path is required and must be the same in
// both. A Config must not be modified after it has been passed on.
type Config struct {
	// Path is the upgrade socket. [DefaultPath] has a safe one.
	Path string

	// Wait is how long to wait for the other process to appear. Zero means 5
	// seconds; negative means one try, which for TakeOver lasts a second.
	Wait time.Duration

	// ReadyTimeout is how long the old process waits for the new one to
	// accept connections, and the new one for the decision of the old. Zero
	// means 30 seconds.
	ReadyTimeout time.Duration

	// Users are users that the other process may run as, besides the one
	// that this process runs as and root. TakeOver gives the upgrade socket to
	// the first of them, if it runs as root, so that an old process that has
	// given up its rights can open it.
	Users []uint32

	// Program is what the other process is told about this one, for its log:
	// name and version. It may be empty.
	Program string

	// Logger receives what happens on the way. Nil means slog.Default().
	Logger *slog.Logger

	// credentials replaces the question to the system in tests.
	credentials func(*conn) (Credentials, error)
}

// Credentials say who the process at the other end is.
type Credentials struct {
	PID int // zero if the system does not tell
	UID uint32
}

// Validate returns every problem with c, joined, or nil.
func (c Config) Validate() error {
	const longest = 103 // of sun_path on all systems, less the final zero
	var errs []error
	if c.Path == "" || len(c.Path) > longest {
		errs = append(errs, fmt.Errorf("upgrade: Path is %q, want 1 to %d bytes", c.Path, longest))
	}
	if c.ReadyTimeout < 0 {
		errs = append(errs, fmt.Errorf("upgrade: ReadyTimeout is %v, want at least 0", c.ReadyTimeout))
	}
	return errors.Join(errs...)
}

// withDefaults returns c with every zero field replaced by its default.
func (c Config) withDefaults() Config {
	c.Wait = cmp.Or(c.Wait, 5*time.Second)
	c.ReadyTimeout = cmp.Or(c.ReadyTimeout, 30*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.credentials == nil {
		c.credentials = func(cn *conn) (Credentials, error) { return peerCredentials(cn.UnixConn) }
	}
	return c
}

// mayBe reports whether the other process may run as uid.
func (c Config) mayBe(uid uint32) bool { return uid == 0 || c.ours(uid) }

// ours reports whether a file of uid is one of this program.
func (c Config) ours(uid uint32) bool {
	return int64(uid) == int64(os.Geteuid()) || slices.Contains(c.Users, uid)
}
