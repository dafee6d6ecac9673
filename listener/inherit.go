// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inherited are listening sockets that another process has bound: the one that
// this process replaces, or the service manager. The zero Inherited has none.
// Its methods may be called from any goroutine.
type Inherited struct {
	mu      sync.Mutex
	sockets []*inherited // guarded by mu
}

// An inherited socket.
type inherited struct {
	name, addr string
	managed    bool         // by a service manager, which has set its options
	file       *os.File     // nil once it has been claimed or closed
	ln         net.Listener // until it is claimed or closed
}

// Add adds a socket that was bound for a listener with this name, configured
// with this addr. addr is empty if that is not known. Add takes over the file,
// and closes it if it returns an error: it must be a TCP or Unix stream socket
// that listens.
func (in *Inherited) Add(name, addr string, f *os.File) error {
	return in.add(&inherited{name: name, addr: addr, file: f})
}

// AddManaged is Add for a socket that the service manager has bound and keeps:
// its options are those that the manager was told to set, apart from the ones
// that the configuration of the listener names.
func (in *Inherited) AddManaged(name, addr string, f *os.File) error {
	return in.add(&inherited{name: name, addr: addr, file: f, managed: true})
}

func (in *Inherited) add(s *inherited) error {
	f := s.file
	err := checkListens(f)
	if err == nil {
		s.ln, err = net.FileListener(f)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("inherited socket %q: %w", s.name, err)
	}
	if ul, ok := s.ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false) // the file is not ours yet
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sockets = append(in.sockets, s)
	return nil
}

// Len returns how many sockets have been added.
func (in *Inherited) Len() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.sockets)
}

// checkListens returns an error unless f is a stream socket that listens.
func checkListens(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var kind, listens int
	ctlErr := raw.Control(func(fd uintptr) {
		kind, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TYPE)
		if err == nil {
			listens, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		}
	})
	switch {
	case ctlErr != nil:
		return ctlErr
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case kind != unix.SOCK_STREAM || listens == 0:
		return errors.New("it is not a stream socket that listens")
	}
	return nil
}

// Listen returns a Listener for cfg on an inherited socket, if there is one that
// is bound to cfg.Addr. Otherwise it binds one, as the function Listen does.
// number is the place of the socket among those added, from 0, or -1 if the
// socket is new. The options of an inherited socket stay as they are until
// Listener.Apply: another process still depends on them.
//
// A socket that has cfg.Name is preferred, if several are bound to cfg.Addr. If
// cfg.Addr has port 0, it must have been configured with the same Name and
// Addr. A socket of which Add was not told the address fits by its name, too.
//
// The Listener counts as shared: see SetShared.
func (in *Inherited) Listen(ctx context.Context, cfg Config) (l *Listener, number int, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, -1, err
	}
	number, s, err := in.claim(ctx, cfg.withDefaults())
	if err != nil {
		return nil, -1, fmt.Errorf("listen on %s: %w", cfg.Addr, err)
	}
	if s == nil {
		l, err = Listen(ctx, cfg)
		return l, -1, in.explain(err, cfg)
	}
	defer s.file.Close()
	if l, err = adopt(cfg, s); err != nil {
		s.ln.Close()
		return nil, -1, fmt.Errorf("listen on %s: inherited socket: %w", cfg.Addr, err)
	}
	return l, number, nil
}

// explain adds to the error of binding a socket that an inherited one, bound to
// the same port in another way, is the reason.
func (in *Inherited) explain(err error, cfg Config) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	_, port, _ := net.SplitHostPort(cfg.Addr)
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		if s.ln == nil {
			continue
		}
		if a, ok := s.ln.Addr().(*net.TCPAddr); ok && port == strconv.Itoa(a.Port) {
			return fmt.Errorf("%w (listener %q, which is not taken over because it is bound to %v, has the port; "+
				"to change the host of an address takes a restart)", err, s.name, a)
		}
	}
	return err
}

// Take is Listen for those who accept connections themselves. It returns nil
// and -1 if no inherited socket fits. The options of the socket, and the file
// of a Unix socket, stay as they are.
func (in *Inherited) Take(ctx context.Context, cfg Config) (ln net.Listener, number int, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, -1, err
	}
	number, s, err := in.claim(ctx, cfg.withDefaults())
	if err != nil {
		return nil, -1, fmt.Errorf("listen on %s: %w", cfg.Addr, err)
	}
	if s == nil {
		return nil, -1, nil
	}
	s.file.Close()
	return s.ln, number, nil
}

// claim takes the socket that fits cfg best out of those that are left, nil if
// none fits.
func (in *Inherited) claim(ctx context.Context, cfg Config) (number int, s *inherited, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	var want want
	if len(in.sockets) > 0 {
		if want, err = resolve(ctx, cfg); err != nil {
			return -1, nil, err
		}
	}
	found, best := -1, noFit
	for i, s := range in.sockets {
		if f := want.fit(s); f > best {
			found, best = i, f
		}
	}
	if found < 0 {
		return -1, nil, nil
	}
	s = in.sockets[found]
	in.sockets[found] = &inherited{}
	return found, s, nil
}

// Close closes the sockets that no Listener has taken, and returns their names.
// The process that they come from may still have them.
func (in *Inherited) Close() (names []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sockets {
		if s.ln != nil {
			s.ln.Close()
			s.file.Close()
			names = append(names, s.name)
		}
	}
	in.sockets = nil
	return names
}

// A want is what the socket of a configuration looks like.
type want struct {
	cfg  Config
	path string         // of a Unix socket, else empty
	addr netip.AddrPort // of a TCP socket; the unspecified IPv6 address for all
}

// resolve returns what the socket of cfg looks like.
func resolve(ctx context.Context, cfg Config) (want, error) {
	network, addr := cfg.network()
	w := want{cfg: cfg}
	if network == "unix" {
		w.path = addr
		return w, nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return w, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return w, err
	}
	ip := netip.IPv6Unspecified()
	if host != "" {
		// The first address, as net.Listen takes it.
		tcp, err := net.ResolveTCPAddr(network, addr)
		if err != nil {
			return w, err
		}
		ip = tcp.AddrPort().Addr()
	}
	w.addr = normal(netip.AddrPortFrom(ip, uint16(port)))
	return w, nil
}

// normal returns a as it is compared: a wildcard is the one of IPv6, because
// that takes IPv4, too.
func normal(a netip.AddrPort) netip.AddrPort {
	ip := a.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip, a.Port())
}

// How well a socket fits.
const (
	noFit = iota
	sameAddr
	sameName // and the same address, as far as it is known
)

// fit reports how well s fits.
func (w want) fit(s *inherited) int {
	if s.ln == nil || !w.sameSocket(s) {
		return noFit
	}
	if s.name == w.cfg.Name {
		return sameName
	}
	return sameAddr
}

// sameSocket reports whether s can stand for a new socket.
func (w want) sameSocket(s *inherited) bool {
	named := s.name == w.cfg.Name && s.addr == ""
	switch a := s.ln.Addr().(type) {
	case *net.UnixAddr:
		return w.path != "" && (named || a.Name == w.path) && hasFile(a.Name)
	case *net.TCPAddr:
		switch {
		case w.path != "":
			return false
		case w.addr.Port() == 0:
			return named || s.name == w.cfg.Name && s.addr == w.cfg.Addr
		case named:
			return true
		}
		bound := normal(a.AddrPort())
		return bound == w.addr && (!bound.Addr().IsUnspecified() || isIPv6Only(s.file) == w.cfg.IPv6Only)
	}
	return false
}

// hasFile reports whether clients can reach a Unix socket by its path.
func hasFile(path string) bool {
	if strings.HasPrefix(path, "@") {
		return true
	}
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// isIPv6Only reports whether a wildcard socket does not take IPv4.
func isIPv6Only(f *os.File) (only bool) {
	if raw, err := f.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			v, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			only = err == nil && v != 0
		})
	}
	return only
}

// adopt makes a Listener on an inherited socket. cfg has no defaults filled in.
func adopt(cfg Config, s *inherited) (*Listener, error) {
	l, err := newListener(cfg)
	if err != nil {
		return nil, err
	}
	l.ln = s.ln
	l.shared.Store(true)
	network, _ := l.cfg.network()
	if network != "unix" {
		k := l.cfg.KeepAlive
		if s.managed && cfg.KeepAlive == (KeepAlive{}) {
			k = keepAliveOf(s.file).withDefaults()
		}
		l.prepare = prepareInherited(k)
	} else if path := s.ln.Addr().String(); !strings.HasPrefix(path, "@") {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, err
		}
		l.unix = &socketFile{path: path, info: info}
	}
	l.apply = func() error {
		if s.managed {
			return l.applyNamed(network, cfg)
		}
		return errors.Join(control(l.ln, func(c syscall.RawConn) error { return setInherited(c, network, l.cfg) }), l.chmod())
	}
	return l, nil
}

// applyNamed sets the options that cfg, without defaults, has.
func (l *Listener) applyNamed(network string, cfg Config) error {
	err := control(l.ln, func(c syscall.RawConn) error { return setNamed(c, network, cfg) })
	if cfg.Mode != 0 {
		err = errors.Join(err, l.chmod())
	}
	return err
}

// Apply gives an inherited socket the options of the Config, and the file of a
// Unix socket its permissions. It is to be called when the process that the
// socket comes from does not need it any more, or at once if that is the
// service manager. The error lists what could not be set; the Listener works
// all the same. It does nothing to a socket that is not inherited.
func (l *Listener) Apply() error {
	if l.apply == nil {
		return nil
	}
	if err := l.apply(); err != nil {
		return fmt.Errorf("options of the inherited socket on %s: %w", l.cfg.Addr, err)
	}
	return nil
}

// chmod gives the file of a Unix socket the permissions of the configuration.
// If it belongs to another user, it stays as it is.
func (l *Listener) chmod() error {
	if l.unix == nil || l.unix.info.Mode().Perm() == l.cfg.Mode {
		return nil
	}
	err := os.Chmod(l.unix.path, l.cfg.Mode)
	if errors.Is(err, fs.ErrPermission) {
		l.cfg.Logger.Warn("socket keeps its permissions, because it belongs to another user", "listener", l.cfg.Name,
			"mode", l.unix.info.Mode().Perm().String(), "err", err)
		return nil
	}
	return err
}

// control calls f with the socket of ln.
func control(ln net.Listener, f func(syscall.RawConn) error) error {
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return fmt.Errorf("listener on %s has no descriptor", ln.Addr())
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return f(raw)
}

// prepareInherited returns what is to be done with each connection of an
// inherited TCP socket, nil for nothing. Package net turns keep-alive on, with
// its defaults, for connections of listeners that it has not bound itself.
func prepareInherited(k KeepAlive) func(net.Conn) {
	if d := (KeepAlive{}).withDefaults(); k.Idle == d.Idle && k.Interval == d.Interval && k.Count == d.Count {
		return nil // they are the same
	}
	cfg := net.KeepAliveConfig{Enable: true, Idle: k.Idle, Interval: k.Interval, Count: k.Count}
	if k.Idle < 0 {
		cfg = net.KeepAliveConfig{}
	}
	return func(c net.Conn) {
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.SetKeepAliveConfig(cfg) // fails only if the connection is gone
		}
	}
}

// File returns a copy of the descriptor of the socket, for another process. It
// is non-blocking, as the socket must stay: the flag belongs to both. The
// caller closes it; the Listener does not depend on it.
func (l *Listener) File() (*os.File, error) { return FileOf(l.ln) }

// FileOf is File for a listener of package net.
func FileOf(ln net.Listener) (*os.File, error) {
	var dup int
	err := control(ln, func(c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
		if ctlErr != nil {
			return ctlErr
		}
		return os.NewSyscallError("dup", err)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), "listener"), nil
}

// Shared reports what SetShared has said.
func (l *Listener) Shared() bool { return l.shared.Load() }

// SetShared says whether another process has the socket, too. Then Close leaves
// the connections in the backlog, and the file of a Unix socket, to that one.
func (l *Listener) SetShared(shared bool) { l.shared.Store(shared) }
