// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/internal/sdnotify"
	"github.com/belay-proxy/belay/proxy"
)

// tellEvery is the time between two lines about the progress of a shutdown, for
// whoever waits for it at the control socket.
const tellEvery = time.Second

// openControl opens the control socket of the process.
func (h *host) openControl() error {
	dir, err := h.runtimeDir()
	if err != nil {
		return err
	}
	control.RemoveStale(dir)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", h.serveStatus)
	mux.HandleFunc("POST /stop", h.serveStop)
	mux.HandleFunc("POST /reload", h.serveReload)
	path := filepath.Join(dir, control.SocketName(os.Getpid()))
	h.control, err = listenHTTP("unix:"+path, mux, h.Logger("control"), h.owners()...)
	return err
}

// owners returns the users that may control the process: the one that it will
// be, if that is another, and the one that it is.
func (h *host) owners() []uint32 {
	var uids []uint32
	if h.identity != nil && h.identity.UID >= 0 {
		uids = append(uids, uint32(h.identity.UID))
	}
	return append(uids, uint32(os.Geteuid()))
}

func (h *host) serveStatus(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, h.status())
}

// serveStop ends the process, and says how far that has come as long as it
// lives.
func (h *host) serveStop(w http.ResponseWriter, r *http.Request) {
	sig := syscall.SIGTERM
	if r.URL.Query().Get("now") == "1" {
		sig = syscall.SIGINT
	}
	h.run.orders.handle(sig)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	enc := json.NewEncoder(w)
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		if d := h.run.drainProgress(); d != nil && enc.Encode(d) != nil {
			return
		}
		if flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done(): // also when the server closes, at the very end
			return
		}
	}
}

// serveReload reads the configuration again.
func (h *host) serveReload(w http.ResponseWriter, r *http.Request) {
	result, err := h.reload(r.Context())
	if err == nil {
		answer(w, http.StatusOK, result)
		return
	}
	status := http.StatusUnprocessableEntity
	if errors.Is(err, errNoFile) {
		status = http.StatusConflict
	}
	answer(w, status, control.Failure{Problems: problems(err)})
}

// status describes the process.
func (h *host) status() control.Status {
	sock, _ := h.run.upgradePath()
	st := control.Status{
		Program: programName(), Version: version(), PID: os.Getpid(), UID: h.startUID, GID: h.startGID, Groups: h.startGroups,
		Phase: string(h.effectivePhase()), Started: h.began, Uptime: time.Since(h.began).Seconds(),
		Executable: h.executable, Args: os.Args, Directory: h.startDir, Daemon: h.child != nil,
		ConfFile: absolute(h.startDir, h.cfg.Options.ConfFile), PIDFile: h.pidPath, UpgradeSock: sock,
		Listeners: []control.Listener{}, Requests: h.run.requests(), Drain: h.run.drainProgress(),
	}
	if d, ok := sdnotify.WatchdogInterval(); ok {
		st.Watchdog = d
	}
	if err := h.unhealthy(); err != nil {
		st.Error = err.Error()
	}
	for _, v := range h.run.services {
		for _, l := range v.bound() {
			st.Listeners = append(st.Listeners, control.Listener{
				Service: v.name, Name: l.Name(), Network: l.Addr().Network(), Addr: l.Addr().String(), Connections: l.Active(),
			})
			st.Connections += l.Active()
		}
	}
	return st
}

// effectivePhase returns the phase, or the next one if it is about to begin.
func (h *host) effectivePhase() Phase {
	p := h.currentPhase()
	if (p == PhaseRunning || p == PhaseUpgrading) && (h.superseded.Load() || h.run.orders.stop.Err() != nil) {
		return PhaseDraining
	}
	return p
}

// requests counts the requests of all handlers, each once though it may serve
// several services.
func (r *run) requests() (sum control.Requests) {
	seen := make(map[Counter]bool)
	for _, v := range r.services {
		s, ok := counterOf(v.handler)
		if !ok {
			continue
		}
		if reflect.TypeOf(s).Comparable() {
			if seen[s] {
				continue
			}
			seen[s] = true
		}
		stats := s.Stats()
		sum.Active += stats.Active
		sum.Total += stats.Requests
		sum.Rejected += stats.Rejected
		for why, n := range rejectedBy(stats.RejectedBy) {
			if n == 0 {
				continue
			}
			if sum.RejectedBy == nil {
				sum.RejectedBy = make(map[string]int64)
			}
			sum.RejectedBy[why] += n
		}
	}
	return sum
}

// rejectedBy returns the reasons as they are called in the status.
func rejectedBy(r proxy.Rejections) map[string]int64 {
	return map[string]int64{"malformed": r.Malformed, "too_large": r.TooLarge, "late": r.Late, "flood": r.Flood}
}

// drainProgress returns how far the shutdown has come, nil if there is none or
// its grace period is over.
func (r *run) drainProgress() *control.Drain {
	if r.currentPhase() != PhaseDraining {
		return nil
	}
	d := &control.Drain{Connections: r.openConns(), Requests: r.requests().Active, SecondsLeft: -1}
	if end := r.drainEnd.Load(); end != nil {
		d.SecondsLeft = max(0, time.Until(*end).Seconds())
	}
	return d
}

// statusLine describes the process in one line, for the service manager.
func (h *host) statusLine() string {
	if d := h.run.drainProgress(); d != nil {
		return d.String()
	}
	return h.statusIn(h.currentPhase())
}

// statusIn is statusLine in a phase that is no drain.
func (h *host) statusIn(p Phase) string {
	n := 0
	for _, v := range h.run.services {
		n += len(v.bound())
	}
	return fmt.Sprintf("%s, listeners: %d", p, n)
}
