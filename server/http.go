// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/internal/peercred"
)

// An httpServer answers questions about the process itself, beside the
// services: HTTP/1.1 only, for few clients that are trusted or on this machine.
type httpServer struct {
	http   *http.Server // nil before serve
	ln     net.Listener // turns others away
	raw    net.Listener // of package net
	shared bool         // another process has the socket, too
	path   string       // of the Unix socket that is ours, else empty
	info   os.FileInfo  // of that
	work   sync.WaitGroup

	disowned atomic.Bool // by disown
}

// listenHTTP binds addr, "unix:" and a path or host:port, and has handler
// answer there. A Unix socket can only be reached by root and the users uids;
// the first of them becomes its owner.
func listenHTTP(addr string, handler http.Handler, log *slog.Logger, uids ...uint32) (*httpServer, error) {
	s := new(httpServer)
	path, isUnix := strings.CutPrefix(addr, "unix:")
	var err error
	if isUnix {
		err = s.bindUnix(path, uids)
	} else {
		s.ln, err = net.Listen("tcp", addr)
		s.raw = s.ln
	}
	if err != nil {
		return nil, err
	}
	s.serve(handler, log)
	return s, nil
}

// serve has handler answer.
func (s *httpServer) serve(handler http.Handler, log *slog.Logger) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.work.Go(func() {
		if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) && !s.disowned.Load() {
			log.Error("stopped answering", "addr", s.raw.Addr().String(), "err", err)
		}
	})
}

// bindUnix binds a Unix socket with mode 0600, in the place of one that nobody
// listens on.
func (s *httpServer) bindUnix(path string, uids []uint32) error {
	if err := removeDead(path); err != nil {
		return err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	ul := ln.(*net.UnixListener)
	ul.SetUnlinkOnClose(false) // close does it, if the file is still ours
	s.path, s.raw, s.ln = path, ul, peercred.Listener(ul, uids...)
	if s.info, err = os.Lstat(path); err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil && os.Geteuid() == 0 && len(uids) > 0 {
		err = os.Lchown(path, int(uids[0]), -1)
	}
	if err != nil {
		return closeBoth(ln, err)
	}
	return nil
}

// removeDead removes a socket that nobody listens on.
func removeDead(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // what is wrong will be seen when it is bound
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("there is a file at %s that is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("another process listens on %s", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	}
	return nil
}

// close closes the listener and all connections. s may be nil.
func (s *httpServer) close() {
	if s == nil {
		return
	}
	if s.http == nil {
		s.ln.Close()
	} else {
		s.http.Close()
		s.work.Wait()
	}
	if s.path == "" {
		return
	}
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
		os.Remove(s.path) // without the right to, it is left; the next process removes it
	}
}

// answer sends v in JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // fails if the client has gone
}
