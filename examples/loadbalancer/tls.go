// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"flag"
	"io/fs"
	"net"
	"os"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/server"
)

// tlsFlags are the options of the TLS listener.
type tlsFlags struct {
	https     string
	cert, key string
}

// The certificate that is used if it exists and none is named.
const (
	defaultCert = "keys/example.com.crt"
	defaultKey  = "keys/example.com.key"
)

// add declares the options.
func (f *tlsFlags) add(fs *flag.FlagSet) {
	fs.StringVar(&f.https, "https", "", "`host:port` to listen on with TLS (default 0.0.0.0:443 if there is a certificate, or if --http is not given either)")
	fs.StringVar(&f.cert, "cert", "", "PEM `file` with the certificate and its intermediates (default "+defaultCert+" if it exists, otherwise one made at the start that no client trusts)")
	fs.StringVar(&f.key, "key", "", "PEM `file` with the key (default "+defaultKey+")")
}

// complete fills in what has not been given. https stays empty if there is to
// be no TLS: with --http alone and no certificate.
func (f *flags) complete() error {
	if (f.cert == "") != (f.key == "") {
		return errors.New("--cert and --key go together")
	}
	if _, err := os.Stat(defaultCert); f.cert == "" && !errors.Is(err, fs.ErrNotExist) {
		f.cert, f.key = defaultCert, defaultKey
	}
	if f.https == "" && (f.cert != "" || f.http == "") {
		f.https = "0.0.0.0:443"
	}
	f.http = cmp.Or(f.http, "0.0.0.0:80")
	return nil
}

// certificates returns the certificates of the TLS listener. They are read
// anew when their files change, and on SIGHUP.
func (f *tlsFlags) certificates(srv *server.Server) (*cert.Store, error) {
	var cfg cert.Config
	if f.cert != "" {
		cfg.Pairs = []cert.Pair{{Cert: f.cert, Key: f.key}}
	} else {
		self, err := selfSigned(f.https)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{self}
		srv.Logger("loadbalancer").Warn("there is no certificate; clients have to trust one made just now", "names", self.Leaf.DNSNames)
	}
	return srv.Certificates("certificates", cfg)
}

// selfSigned makes a certificate for a listener.
func selfSigned(addr string) (tls.Certificate, error) {
	names := []string{"localhost", "example.com", "127.0.0.1", "::1"}
	if host, _, err := net.SplitHostPort(addr); err == nil && host != "" {
		names = append(names, host)
	}
	return cert.SelfSigned(names...)
}
