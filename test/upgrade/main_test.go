// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/server"
	"github.com/belay-proxy/belay/upstream"
)

// Environment variables that make the test binary a server.
const (
	programEnv = "BELAY_TEST_UPGRADE_SERVER"
	faultEnv   = "BELAY_TEST_UPGRADE_FAULT" // how it fails as a new version
)

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		program()
	}
	flag.Parse()
	os.Exit(m.Run())
}

// program is a load balancer with one backend, such as a user would write it,
// apart from the faults. It does not return.
func program() {
	fault := os.Getenv(faultEnv)
	switch fault {
	case "exit":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	}
	var listen []listener.Config
	var backend, secure, certFile string
	opts := server.ParseOrExit(func(fs *flag.FlagSet) {
		fs.Func("listen", "`address` to listen on; may be repeated", func(s string) error {
			listen = append(listen, listener.Config{Addr: s})
			return nil
		})
		fs.StringVar(&secure, "tls", "", "`address` to listen on for TLS")
		fs.StringVar(&certFile, "cert", "", "`file` with certificate and key")
		fs.StringVar(&backend, "backend", "", "`host:port` of the backend")
	})
	srv, err := server.New(server.Config{Options: opts, UpgradeTimeout: upgradeTimeout})
	check(err)
	backends, err := balancer.New(balancer.Config{
		Checker: &health.TCPChecker{}, ReadyAfterChecks: true, Logger: srv.Logger("balancer"),
	}, balancer.Backend{Addr: backend})
	check(err)
	type state struct{ tried balancer.Tried }
	p, err := proxy.New(srv.ProxyConfig(), proxy.Hooks[state]{
		UpstreamPeer: func(_ *proxy.Session, st *state) (*upstream.Peer, error) { return backends.Next(nil, &st.tried) },
	})
	check(err)
	lb := srv.Listen("load balancer", p, listen...)
	checks := srv.Background("health check", backends)
	check(lb.DependsOn(checks))
	if secure != "" {
		store, err := cert.New(cert.Config{Pairs: []cert.Pair{{Cert: certFile, Key: certFile}}})
		check(err)
		h, err := listener.NewTLS(listener.TLSConfig{Certificates: store}, p)
		check(err)
		check(srv.Listen("secure load balancer", h, listener.Config{Addr: secure}).DependsOn(checks))
	}
	srv.KeepState("fault", keeper(fault))
	if fault == "hang-ready" || fault == "die-starting" || fault == "late" {
		srv.Background("fault", &faulty{fault, filepath.Join(filepath.Dir(opts.ConfFile), "go on"), make(chan struct{})})
	}
	go func() {
		<-srv.Ready()
		fmt.Println("READY")
	}()
	srv.RunForever()
}

// upgradeTimeout is how long an old process waits for the new one to be ready.
const upgradeTimeout = 3 * time.Second

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A keeper keeps nothing, but may die of what it gets.
type keeper string

func (k keeper) SaveState() ([]byte, error) { return []byte("state"), nil }

func (k keeper) RestoreState([]byte) error {
	if k == "die-taken" {
		die()
	}
	return nil
}

// A faulty is a background service that never becomes ready, or when there is a
// file, or dies.
type faulty struct {
	fault string
	file  string
	ready chan struct{}
}

func (f *faulty) Ready() <-chan struct{} { return f.ready }

func (f *faulty) Run(ctx context.Context) error {
	if f.fault == "die-starting" {
		die()
	}
	for ; f.fault == "late" && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(f.file); err == nil {
			close(f.ready)
			break
		}
	}
	<-ctx.Done()
	return nil
}

// die ends the process as SIGKILL does.
func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
