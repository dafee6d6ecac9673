// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net"
	"os"

	"github.com/belay-proxy/belay/internal/peercred"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/upgrade"
)

// adminName is the name under which the admin listener is handed over. No
// listener of a program has it.
const adminName = "\x00admin"

// takeAdmin takes the admin listener of the process that this one replaces, or
// of the service manager, if it is the one that the settings ask for.
func (r *run) takeAdmin(in *listener.Inherited) (err error) {
	r.upgrade.admin = -1
	addr := r.settings.AdminListen
	if addr == "" || in.Len() == 0 {
		return nil
	}
	var number int
	r.host.inheritedAdmin, number, err = in.Take(r.orders.stop, listener.Config{Name: adminName, Addr: addr})
	r.upgrade.admin = r.cargoNumber(number)
	return err
}

// adminSocket returns the admin listener as it is handed over. ok is false if
// there is none.
func (r *run) adminSocket() (s upgrade.Socket, ok bool, err error) {
	admin := r.host.admin
	if admin == nil {
		return s, false, nil
	}
	f, err := listener.FileOf(admin.raw)
	return upgrade.Socket{Name: adminName, Addr: r.settings.AdminListen, File: f, Shared: admin.shared}, err == nil, err
}

// adoptHTTP returns a server on a listener of another process. It is to be told
// to serve when that one does not any more: who asks must not get the answer of
// the one or the other. The file of a Unix socket stays with the other process,
// until own.
func adoptHTTP(ln net.Listener, uids ...uint32) *httpServer {
	s := &httpServer{raw: ln, ln: ln, shared: true}
	if ul, ok := ln.(*net.UnixListener); ok {
		s.ln = peercred.Listener(ul, uids...)
	}
	return s
}

// own makes the file of a Unix socket belong to s.
func (s *httpServer) own() {
	s.shared = false
	if a, ok := s.raw.Addr().(*net.UnixAddr); ok {
		if info, err := os.Lstat(a.Name); err == nil {
			s.path, s.info = a.Name, info
		}
	}
}

// disown leaves the listener and the file of a Unix socket to another process,
// which accepts there from now on. Connections that have been accepted go on:
// the shutdown of package http would cut those whose request is still to come.
func (s *httpServer) disown() {
	s.shared, s.path = true, ""
	s.disowned.Store(true)
	s.ln.Close()
}
