// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// eventCount is how often a proxy is upgraded or reloaded in one measurement.
const eventCount = 3

// eventRate is the number of requests per second meanwhile: far from
// saturation, as it is failures that count.
const eventRate = 2000

// runEvents upgrades or reloads the proxy eventCount times within d, evenly.
func (m *measurement) runEvents(ctx context.Context, d time.Duration) error {
	for range eventCount {
		select {
		case <-time.After(d / (eventCount + 1)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := m.peer.happen(ctx, m.run.set, m.scenario.event); err != nil {
			return fmt.Errorf("%v: %w", m.scenario.event, err)
		}
	}
	return nil
}

// loadWithEvents loads the proxy for d while it is upgraded or reloaded.
func (m *measurement) loadWithEvents(ctx context.Context, d time.Duration) (report loadReport, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan error, 1)
	go func() { events <- m.runEvents(ctx, d) }() // ends with d or ctx
	err = m.load.ask(ctx, loadGo+" "+d.String(), &report)
	if err != nil {
		cancel()
	}
	return report, errors.Join(<-events, err)
}

func (e event) String() string {
	return [...]string{noEvent: "nothing", reloadEvent: "reload", upgradeEvent: "upgrade"}[e]
}

// signalFile sends sig to the process whose id is in file.
func signalFile(file string, sig syscall.Signal) error {
	pid, err := readPID(file)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}

func readPID(file string) (int, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}

// nginxHappen has nginx read its configuration again, or run its program again
// and end the first process once the second has started.
func nginxHappen(ctx context.Context, set setup, e event) error {
	file := filepath.Join(set.dir, "nginx.pid")
	if e == reloadEvent {
		return signalFile(file, syscall.SIGHUP)
	}
	old, err := readPID(file)
	if err != nil {
		return err
	}
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		return err
	}
	return poll(ctx, "the new nginx does not start", func() (bool, error) {
		pid, err := readPID(file)
		if errors.Is(err, fs.ErrNotExist) || err == nil && pid == old {
			return false, nil
		}
		if err != nil {
			return false, nil // half written
		}
		return true, syscall.Kill(old, syscall.SIGQUIT)
	})
}

// haproxyHappen has the master of HAProxy run its program again, with new
// workers: it does so for either event.
func haproxyHappen(_ context.Context, set setup, _ event) error {
	return signalFile(filepath.Join(set.dir, "haproxy.pid"), syscall.SIGUSR2)
}

// belayHappen returns what runs "belay reload" or "belay upgrade".
func belayHappen(program string) func(context.Context, setup, event) error {
	return func(ctx context.Context, set setup, e event) error {
		cmd := exec.CommandContext(ctx, program, e.String(), "--conf", belayConf(set))
		cmd.Dir, cmd.Env = set.dir, goEnv(set.cores)
		var out tail
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.WaitDelay = time.Second // the new process may keep the pipes
		if err := onCPUs(set.cpus, cmd.Start); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
			return errors.Join(err, outputOf(&out))
		}
		return nil
	}
}

// belayConf is the file of the settings of belay's process, for upgrades and
// reloads.
func belayConf(set setup) string { return filepath.Join(set.dir, "belay.yaml") }

// writeBelayConf writes it.
func writeBelayConf(set setup) error {
	return os.WriteFile(belayConf(set), []byte("version: 1\npid_file: "+filepath.Join(set.dir, "belay.pid")+
		"\nupgrade_sock: "+filepath.Join(set.dir, "belay.sock")+"\ngrace_period_seconds: 10\n"), 0o600)
}

// poll calls done every few milliseconds until it reports true or an error, or
// ctx ends, or five seconds pass, for which late is the error.
func poll(ctx context.Context, late string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*time.Second, errors.New(late))
	defer cancel()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
