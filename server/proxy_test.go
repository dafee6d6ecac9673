// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/config"
)

func TestProxyConfig(t *testing.T) {
	s, err := New(Config{Settings: &config.Config{MaxRetries: 7, UpstreamKeepalivePoolSize: -1}})
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.ProxyConfig(), s.ProxyConfig()
	if a.MaxRetries != 7 {
		t.Errorf("MaxRetries = %d, want 7", a.MaxRetries)
	}
	if a.Connector == nil || a.Connector != b.Connector {
		t.Errorf("connectors %p and %p, want one for all proxies", a.Connector, b.Connector)
	}
}

func TestCAFile(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		junk:                "no usable certificate",
		junk + ".not-there": "no such file",
	} {
		_, err := New(Config{Settings: &config.Config{CAFile: file}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New with ca_file %s: %v, want %q", file, err, want)
		}
	}
}
