// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/upstream"
)

// ProxyConfig returns the configuration that the settings ask of a proxy: the
// number of retries, a logger, and a Connector with the pool size, source
// addresses and roots. All proxies made with it share that Connector, and so
// one pool. The server closes it when Run returns.
func (s *Server) ProxyConfig() proxy.Config {
	return proxy.Config{
		Connector:  s.connector,
		MaxRetries: s.settings.MaxRetries,
		Logger:     s.Logger("proxy"),
	}
}

// newConnector makes the Connector by the settings.
func newConnector(c config.Config) (*upstream.Connector, error) {
	cfg := upstream.Config{
		MaxIdle:        c.UpstreamKeepalivePoolSize,
		MaxIdlePerPeer: c.UpstreamKeepalivePoolSize,
		BindIPv4:       c.ClientBindToIPv4,
		BindIPv6:       c.ClientBindToIPv6,
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s has no usable certificate", c.CAFile)
		}
	}
	return upstream.New(cfg)
}
