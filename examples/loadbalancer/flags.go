// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"strconv"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/health"
)

// flags are the options of this program. Package server adds those that all
// servers have.
type flags struct {
	http        string
	to          []string
	healthCheck bool
	retries     int // negative if not given
	tlsFlags
}

// add declares the options.
func (f *flags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.http, "http", "", "`host:port` to listen on (default 0.0.0.0:80)")
	fs.Func("backend", "`host:port` of a backend; may be repeated (default 10.0.0.1:8080, 10.0.0.2:8080, 10.0.0.3:8080)",
		func(addr string) error {
			f.to = append(f.to, addr)
			return nil
		})
	f.tlsFlags.add(fs)
	fs.BoolVar(&f.healthCheck, "health-check", true, "connect to each backend every second")
	f.retries = -1
	fs.Func("retries", "how many `attempts` may follow the first; 0 means none (default max_retries of the configuration, or 16)", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return errors.New("want a number, 0 or more")
		}
		f.retries = n
		return nil
	})
}

// backends returns the backends that were named, or else the default ones.
func (f *flags) backends() []balancer.Backend {
	addrs := f.to
	if len(addrs) == 0 {
		addrs = []string{"10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"}
	}
	var list []balancer.Backend
	for _, addr := range addrs {
		list = append(list, balancer.Backend{Addr: addr})
	}
	return list
}

// checker returns the health check, or nil for none. The zero health.Config
// of the balancer makes it run every second.
func (f *flags) checker() health.Checker {
	if !f.healthCheck {
		return nil
	}
	return &health.TCPChecker{}
}

// maxRetries returns --retries as proxy.Config has it, where negative means
// none, or what the configuration says if it was not given.
func (f *flags) maxRetries(configured int) int {
	switch {
	case f.retries < 0:
		return configured
	case f.retries == 0:
		return -1
	}
	return f.retries
}
