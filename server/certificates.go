// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"

	"github.com/belay-proxy/belay/cert"
)

// Certificates loads the certificates of TLS listeners and keeps them up to
// date: a background service of this name looks whether their files have
// changed, and a reload reads them at once. The Logger of cfg is set if it is
// nil. The error lists what is wrong with each certificate.
//
//	certs, err := srv.Certificates("certificates", cert.Config{Pairs: pairs})
//	…
//	secure, err := listener.NewTLS(listener.TLSConfig{Certificates: certs}, p)
//	…
//	srv.Listen("https", secure, listener.Config{Addr: ":443"})
func (s *Server) Certificates(name string, cfg cert.Config) (*cert.Store, error) {
	if cfg.Logger == nil {
		cfg.Logger = s.Logger("cert")
	}
	store, err := cert.New(cfg)
	if err != nil {
		return nil, err
	}
	s.Background(name, store)
	s.OnReload(name, func(_ context.Context, r *Reload) error {
		before := store.Stats().Reloads
		err := store.Reload()
		if store.Stats().Reloads != before {
			r.Applied(name)
		}
		return err
	})
	return store, nil
}
