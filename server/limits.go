// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/belay-proxy/belay/internal/cgroup"
)

// reservedFiles is how many descriptors a server may need beside those of its
// connections: listeners, log, pid file, sockets of its own, name look-ups.
const reservedFiles = 64

// setLimits adapts the process to what the system allows it: memory,
// processors and descriptors. The error says that the configuration needs more
// descriptors than there can be.
func (s *Server) setLimits(services []*Service) error {
	if n := s.settings.Threads; n > 0 {
		runtime.GOMAXPROCS(n) // the runtime itself has looked at the quota of the control group
	}
	s.limitMemory()
	return s.checkFiles(services)
}

// limitMemory makes the garbage collector keep below nine tenths of what the
// control group allows, unless the environment or the program has set a limit.
func (s *Server) limitMemory() {
	const none = 1<<63 - 1
	if _, ok := os.LookupEnv("GOMEMLIMIT"); ok || debug.SetMemoryLimit(-1) != none {
		return
	}
	if limit, ok := cgroup.MemoryLimit(); ok {
		debug.SetMemoryLimit(limit / 10 * 9)
		s.log.Debug("memory limit by the control group", "limit", limit, "collector", limit/10*9)
	}
}

// checkFiles makes sure that there can be as many descriptors as the listeners
// of services may have connections: one for each at least, and for a proxy
// two.
func (s *Server) checkFiles(services []*Service) error {
	limit, err := fileLimit()
	if err != nil {
		s.log.Warn("the limit of descriptors cannot be read", "err", err)
		return nil
	}
	var conns uint64
	for _, v := range services {
		for _, c := range v.configs {
			conns += uint64(max(c.MaxConns, 0))
		}
	}
	switch {
	case conns == 0:
		return nil
	case conns+reservedFiles > limit:
		return fmt.Errorf("server: the listeners allow %d connections, for which the process needs %d descriptors, but the hard limit is %d: "+
			"raise it (ulimit -Hn, LimitNOFILE=) or lower how many they allow (MaxConns, --max-connections)", conns, conns+reservedFiles, limit)
	case 2*conns+reservedFiles > limit:
		s.log.Warn("with all connections that the listeners allow, a proxy may lack descriptors",
			"connections", conns, "descriptors", limit)
	}
	return nil
}

// fileLimit raises the number of descriptors that the process may have to the
// hard limit, and returns it. The Go runtime does the same when a program
// starts, but not if the program has called Setrlimit itself.
func fileLimit() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	cur, top := uint64(l.Cur), uint64(l.Max)
	if cur >= top {
		return cur, nil
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil && !errors.Is(err, syscall.EINVAL) {
		return cur, err
	} else if err != nil {
		return cur, nil // macOS allows less than its hard limit
	}
	return top, nil
}
