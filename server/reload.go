// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/internal/sdnotify"
)

// errNoFile is why a server without configuration file cannot reload.
var errNoFile = errors.New("there is no configuration file to read again: " +
	"the settings come from the command line or the program; to change them, upgrade to a process that has others")

// reloadable are the keys that take effect while the server runs. Those with no
// effect on a running server are among them.
var reloadable = []string{
	"daemon", "error_log", "pid_file", "daemon_wait_for_ready", "daemon_ready_timeout_seconds", "daemon_notify_timeout_seconds",
	"threads", "grace_period_seconds", "graceful_shutdown_timeout_seconds",
	"work_stealing", "upstream_connect_offload_threadpools", "upstream_connect_offload_thread_per_pool",
	"max_blocking_threads", "blocking_threads_ttl_seconds", "s2n_config_cache_size",
}

// A Reload is a configuration file that has been read again, and found to be
// valid.
type Reload struct {
	// Settings are what the file says now.
	Settings config.Config

	sections    map[string]any
	mu          sync.Mutex
	applied     []string // guarded by mu
	needUpgrade []string // guarded by mu
}

// Section returns what the file says about a section of the program now: a
// pointer to a value of the type that was declared in Config.Sections. The
// declared variable itself stays as it is. It returns nil for a key that was
// not declared.
func (r *Reload) Section(key string) any { return r.sections[key] }

// Applied notes that a key, or whatever else the name stands for, has been
// given its new value.
func (r *Reload) Applied(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = append(r.applied, name)
}

// NeedsUpgrade notes that a key has a new value that only a new process can
// have.
func (r *Reload) NeedsUpgrade(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.needUpgrade = append(r.needUpgrade, name)
}

// A reloader is a part of the program that takes part in reloads.
type reloader struct {
	name string
	f    func(context.Context, *Reload) error
}

// OnReload has f called, with others in the order in which they were added,
// when the configuration file has been read again and is valid: on SIGHUP, or
// by way of the control socket. Without such a file it is called, too, with
// the settings as they are. f applies what it can, and says so with
// Reload.Applied; for the rest there is Reload.NeedsUpgrade. If it returns an
// error, the reload has failed, and those that come later are not called: f
// must then have changed nothing. It is to be called before Run.
//
// Sections that have changed and that no function has noted are reported as
// needing an upgrade.
func (s *Server) OnReload(name string, f func(context.Context, *Reload) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reloaders = append(s.reloaders, reloader{name, f})
}

// reloadBySignal reloads, for SIGHUP.
func (h *host) reloadBySignal() {
	h.work.Go(func() {
		result, err := h.reload(h.working)
		if err != nil {
			h.log.Error("configuration not reloaded; it stays as it was", "problems", problems(err))
			return
		}
		h.log.Info("configuration reloaded", "result", result.String())
	})
}

// reload reads the configuration file again, if there is one, and applies what
// can be applied. If anything is wrong with it, nothing changes.
func (h *host) reload(ctx context.Context) (control.Reload, error) {
	h.reloading.Lock()
	defer h.reloading.Unlock()
	file := h.confFile()
	if file == "" && len(h.reloaders) == 0 {
		return control.Reload{}, errNoFile
	}
	h.tell(func(n *sdnotify.Notifier) error { return n.Reloading("reloading") })
	defer func() { h.tell(func(n *sdnotify.Notifier) error { return n.Ready(h.statusLine()) }) }()

	r, fresh, err := h.read(file)
	if err != nil {
		return control.Reload{}, err
	}
	for _, part := range h.reloaders {
		if err := part.f(ctx, r); err != nil {
			return control.Reload{}, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	h.noteSections(r, fresh)
	if err := h.applySettings(r); err != nil {
		return control.Reload{}, err
	}
	return control.Reload{File: file, Applied: unique(r.applied), NeedUpgrade: unique(r.needUpgrade)}, nil
}

// confFile returns the file that the settings come from, "" if there is none.
func (h *host) confFile() string {
	if h.cfg.Settings != nil {
		return ""
	}
	return absolute(h.startDir, h.cfg.Options.ConfFile)
}

// read reads the file into new variables. Without one, all is as it was.
func (h *host) read(file string) (*Reload, []config.Section, error) {
	var fresh []config.Section
	r := &Reload{sections: make(map[string]any)}
	if file == "" {
		r.Settings = h.Settings()
		for _, s := range h.cfg.Sections {
			r.sections[s.Key] = s.Value
		}
		return r, nil, nil
	}
	for i, s := range h.cfg.Sections {
		s.Value = copyOf(h.initial[i])
		fresh = append(fresh, s)
		r.sections[s.Key] = s.Value
	}
	var err error
	if r.Settings, err = config.Load(file, fresh...); err == nil {
		r.Settings, err = h.adjust(r.Settings)
	}
	return r, fresh, err
}

// noteSections notes which sections have changed since the last reload without
// a part of the program having noted it.
func (h *host) noteSections(r *Reload, fresh []config.Section) {
	for i, s := range fresh {
		if !slices.Contains(r.applied, s.Key) && !slices.Contains(r.needUpgrade, s.Key) &&
			!reflect.DeepEqual(s.Value, h.cfg.Sections[i].Value) {
			r.needUpgrade = append(r.needUpgrade, s.Key)
		}
	}
}

// applySettings puts the new values of those keys into force for which that is
// possible, and notes which have changed.
func (h *host) applySettings(r *Reload) error {
	old, now := h.Settings(), r.Settings
	merged := reflect.ValueOf(&old).Elem()
	next := reflect.ValueOf(now)
	var applied, later []string
	for i := range merged.NumField() {
		key, _, _ := strings.Cut(merged.Type().Field(i).Tag.Get("yaml"), ",")
		if reflect.DeepEqual(merged.Field(i).Interface(), next.Field(i).Interface()) {
			continue
		}
		if slices.Contains(reloadable, key) {
			applied = append(applied, key)
			merged.Field(i).Set(next.Field(i))
		} else {
			later = append(later, key)
		}
	}
	before := h.Settings()
	h.live.Store(&old)
	if h.child != nil && slices.Contains(applied, "error_log") {
		if err := h.openLog(); err != nil {
			h.live.Store(&before)
			return err
		}
	}
	if slices.Contains(applied, "threads") {
		if old.Threads > 0 {
			runtime.GOMAXPROCS(old.Threads)
		} else {
			runtime.SetDefaultGOMAXPROCS()
		}
	}
	r.applied = append(applied, r.applied...)
	r.needUpgrade = append(later, r.needUpgrade...)
	return nil
}

// snapshot returns copies of what sections hold before anything is read.
func snapshot(sections []config.Section) []any {
	var list []any
	for _, s := range sections {
		list = append(list, copyOf(s.Value))
	}
	return list
}

// copyOf returns a pointer to a copy of what p points to. What that refers to
// is shared; reading a file replaces it and does not change it.
func copyOf(p any) any {
	v := reflect.ValueOf(p)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return p // config.Load will complain
	}
	c := reflect.New(v.Type().Elem())
	c.Elem().Set(v.Elem())
	return c.Interface()
}

// unique returns list without repetitions, never nil.
func unique(list []string) []string {
	found := []string{}
	for _, s := range list {
		if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}

// problems returns what err says, line by line.
func problems(err error) []string { return strings.Split(err.Error(), "\n") }
