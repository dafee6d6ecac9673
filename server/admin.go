// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// openAdmin opens the admin listener, if the settings ask for one. That of the
// process that this one replaces stays with it until openInherited.
func (h *host) openAdmin() (err error) {
	addr := h.settings.AdminListen
	switch {
	case addr == "":
		return nil
	case h.inheritedAdmin != nil:
		h.admin = adoptHTTP(h.inheritedAdmin, h.owners()...)
		return nil
	}
	h.admin, err = listenHTTP(addr, h.adminHandler(), h.Logger("admin"), h.owners()...)
	if err == nil {
		h.log.Info("answering questions about health", "addr", addr)
	}
	return err
}

// openInherited begins to answer at the admin listener of the process that this
// one has replaced, or of the service manager, if there is one.
func (h *host) openInherited() {
	if h.inheritedAdmin != nil {
		h.admin.serve(h.adminHandler(), h.Logger("admin"))
		h.log.Info("answering questions about health", "addr", h.settings.AdminListen)
	}
}

func (h *host) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.serveHealth)
	mux.HandleFunc("GET /readyz", h.serveReady)
	mux.HandleFunc("GET /status", h.serveStatus)
	return localHosts(h.sendOn(mux))
}

// sendOn makes clients with a connection to a process that has been replaced
// connect to the new one for their next question.
func (h *host) sendOn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.adminTaken.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// serveHealth says whether the process works, be it draining or not.
func (h *host) serveHealth(w http.ResponseWriter, _ *http.Request) {
	if err := h.unhealthy(); err != nil {
		h.verdict(w, http.StatusServiceUnavailable, "not healthy: "+err.Error())
		return
	}
	h.verdict(w, http.StatusOK, "ok")
}

// serveReady says whether new connections should be sent here: not before all
// services accept, and no more once a shutdown has begun. A process that has
// been replaced, and answers what it was asked before that, speaks for the one
// that accepts at the same address now.
func (h *host) serveReady(w http.ResponseWriter, _ *http.Request) {
	if h.adminTaken.Load() {
		h.verdict(w, http.StatusOK, "ok: a new process has taken over")
		return
	}
	phase := h.effectivePhase()
	if phase != PhaseRunning && phase != PhaseUpgrading {
		h.verdict(w, http.StatusServiceUnavailable, string(phase))
		return
	}
	h.serveHealth(w, nil)
}

func (h *host) verdict(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// localHosts refuses requests for hosts that are not this machine. A browser
// here may be made to send such by a page from elsewhere, whose name then
// resolves to the loopback address. Over a Unix socket there is no browser.
func localHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if local != nil && local.Network() != "unix" && !isLocalHost(r.Host) {
			http.Error(w, "this is only for localhost", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocalHost reports whether host, with or without port, is this machine.
func isLocalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
