// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/app"
	"github.com/belay-proxy/belay/listener"
)

// tlsFlags are the flags about TLS with clients.
type tlsFlags struct {
	https      []string
	cert, key  []string
	tlsProfile string // empty: not given
}

func (f *tlsFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.https, "https", nil, "`address` to accept connections with TLS on; may be repeated (default none)")
	fs.StringArrayVar(&f.cert, "cert", nil, "`file` with a certificate and its intermediates (PEM), for --https; may be repeated: the name that a client asks for decides, the first is the default")
	fs.StringArrayVar(&f.key, "key", nil, "`file` with the key of a certificate (PEM); once for each --cert, in the same order")
	fs.StringVar(&f.tlsProfile, "tls-profile", "", "`name` of Mozilla's profile for --https: intermediate (TLS 1.2 and 1.3) or modern (TLS 1.3) (default intermediate)")
}

// config adds to cfg what the flags say.
func (f *tlsFlags) config(cfg *app.ProxyConfig) error {
	var errs []error
	for _, addr := range f.https {
		errs = append(errs, flagError("https", app.CheckListen(addr)))
	}
	switch {
	case len(f.cert) != len(f.key):
		errs = append(errs, fmt.Errorf("--cert and --key go together, once each for a certificate, in the same order: there are %d and %d", len(f.cert), len(f.key)))
	case len(f.https) > 0 && len(f.cert) == 0:
		errs = append(errs, errors.New("--https: there is no certificate: name its files with --cert FILE and --key FILE"))
	case len(f.https) == 0 && len(f.cert) > 0:
		errs = append(errs, errors.New("--cert: there is no listener with TLS: add one with --https ADDRESS"))
	default:
		for i := range f.cert {
			cfg.Certificates = append(cfg.Certificates, cert.Pair{Cert: f.cert[i], Key: f.key[i]})
		}
	}
	if f.tlsProfile != "" && len(f.https) == 0 {
		errs = append(errs, errors.New("--tls-profile: there is no listener with TLS: add one with --https ADDRESS"))
	}
	switch f.tlsProfile {
	case "", "intermediate":
		cfg.TLSProfile = listener.Intermediate
	case "modern":
		cfg.TLSProfile = listener.Modern
	default:
		errs = append(errs, fmt.Errorf("--tls-profile: is %q, want intermediate or modern", f.tlsProfile))
	}
	cfg.HTTPS = f.https
	return errors.Join(errs...)
}

// upstreamFlags are the flags about TLS with backends.
type upstreamFlags struct {
	ca         string
	insecure   bool
	serverName string
}

func (f *upstreamFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.ca, "upstream-ca", "", "`file` with the certificates of the authorities that vouch for backends (PEM) (default those of the system)")
	fs.StringVar(&f.serverName, "upstream-server-name", "", "`name` that backends with TLS are asked for and must have a certificate for (default the host of each)")
	fs.BoolVar(&f.insecure, "upstream-insecure-skip-verify", false, "accept any certificate of a backend: whoever is on the way can read and change everything")
}

// config adds to cfg, which has its backends, what the flags say.
func (f *upstreamFlags) config(cfg *app.ProxyConfig) error {
	cfg.UpstreamCA, cfg.UpstreamServerName, cfg.UpstreamInsecureSkipVerify = f.ca, f.serverName, f.insecure
	hasTLS := slices.ContainsFunc(cfg.Backends, func(b balancer.Backend) bool { return b.Peer != nil && b.Peer.TLS })
	var errs []error
	check := func(name string, given bool) {
		if given && !hasTLS {
			errs = append(errs, fmt.Errorf("--%s: there is no backend with TLS: name one with --to https://host or h2://host", name))
		}
	}
	check("upstream-ca", f.ca != "")
	check("upstream-server-name", f.serverName != "")
	check("upstream-insecure-skip-verify", f.insecure)
	if f.ca != "" && f.insecure {
		errs = append(errs, errors.New("--upstream-ca and --upstream-insecure-skip-verify exclude each other"))
	}
	if f.serverName != "" && !header.ValidHost(f.serverName) {
		errs = append(errs, fmt.Errorf("--upstream-server-name: %q is not a host", f.serverName))
	}
	return errors.Join(errs...)
}

// healthCheckFlag is the flag --health-check. It was a boolean once and still
// takes those.
type healthCheckFlag struct{ value app.HealthCheck }

func (f *healthCheckFlag) add(fs *pflag.FlagSet) {
	fs.Var(f, "health-check", "`how` to find backends to leave out: tcp, those that do not accept connections; grpc, those that do not answer SERVING to gRPC's health check; false leaves out none")
	fs.Lookup("health-check").NoOptDefVal = "tcp"
}

// Set implements pflag.Value.
func (f *healthCheckFlag) Set(s string) (err error) {
	f.value, err = app.ParseHealthCheck(s)
	return err
}

// String implements pflag.Value.
func (f *healthCheckFlag) String() string { return [...]string{"tcp", "grpc", "false"}[f.value] }

// Type implements pflag.Value.
func (f *healthCheckFlag) Type() string { return "check" }
