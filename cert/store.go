// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Store. It needs at least one certificate, of either
// kind. A Config must not be modified after it has been passed to New.
type Config struct {
	// Pairs are the files of the certificates. The first one is the default,
	// for clients that name no host or one that no certificate is for.
	// Others for the same names are taken if the client cannot use the
	// first: put RSA beside ECDSA.
	Pairs []Pair

	// Certificates are certificates that the program has made. They come
	// after the Pairs.
	Certificates []tls.Certificate

	// PollInterval is how often Run looks whether files have changed. Zero
	// means every second; negative means never.
	PollInterval time.Duration

	// WarnBefore is how long before the end of a certificate a warning is
	// logged, once. Zero means 7 days; negative means never.
	WarnBefore time.Duration

	// Logger receives reloads and what went wrong with them. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// withDefaults returns c with every zero field replaced by its default.
func (c Config) withDefaults() Config {
	c.PollInterval = cmp.Or(c.PollInterval, defaultPoll)
	c.WarnBefore = cmp.Or(c.WarnBefore, 7*24*time.Hour)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}

// A Store chooses certificates. It is safe for concurrent use.
type Store struct {
	cfg   Config
	index atomic.Pointer[index] // replaced whole, never modified

	reloads, failures atomic.Int64

	mu     sync.Mutex
	files  []*watched         // one per Pair; guarded by mu
	certs  []*tls.Certificate // Pairs, then Certificates; guarded by mu
	warned map[*tls.Certificate]bool
}

// New loads the certificates and returns a Store. The error lists what is
// wrong with each: files that are missing, certificates that have expired or
// are not valid yet, keys that are not theirs.
func New(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	s := &Store{cfg: cfg, warned: make(map[*tls.Certificate]bool)}
	s.certs = make([]*tls.Certificate, len(cfg.Pairs), len(cfg.Pairs)+len(cfg.Certificates))
	var errs []error
	for i, p := range cfg.Pairs {
		w := &watched{files: []string{p.Cert, p.Key}, use: func(contents [][]byte) error { return s.useLocked(i, contents) }}
		_, err := w.reload()
		errs = append(errs, err)
		s.files = append(s.files, w)
	}
	for _, c := range cfg.Certificates {
		errs = append(errs, checkStatic(&c, time.Now()))
		s.certs = append(s.certs, &c)
	}
	if len(s.certs) == 0 {
		errs = append(errs, errors.New("there are no certificates"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.index.Store(newIndex(s.certs))
	s.warnLocked(time.Now())
	return s, nil
}

// useLocked takes over the contents of the files of a pair.
func (s *Store) useLocked(i int, contents [][]byte) error {
	p := s.cfg.Pairs[i]
	if err := errors.Join(hasPEM(p.Cert, contents[0]), hasPEM(p.Key, contents[1])); err != nil {
		return err
	}
	c, err := parsePair(p, contents[0], contents[1], time.Now())
	if err != nil {
		return err
	}
	delete(s.warned, s.certs[i])
	s.certs[i] = c
	return nil
}

// Get returns the certificate for a handshake: of those for the name that the
// client asks for, or else of the default ones, the first that the client can
// use. It has the form of tls.Config.GetCertificate and never fails; if the
// client can use none, the handshake does.
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.index.Load().choose(hello), nil
}

// Reload reads all files again and takes over what has changed. For a pair
// that is no good, the one in use stays, and the error says what is wrong.
// Handshakes go on meanwhile.
func (s *Store) Reload() error {
	return s.update((*watched).reload)
}

// Run takes over files that change, until ctx ends. It is a background
// service. An error is logged, once for each state of the files.
func (s *Store) Run(ctx context.Context) error {
	return every(ctx, s.cfg.PollInterval, func() { _ = s.update((*watched).poll) }) // update logs
}

// update looks at all files with look.
func (s *Store) update(look func(*watched) (bool, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	var fresh []int // of the Pairs
	for i, w := range s.files {
		changed, err := look(w)
		if err != nil {
			s.failures.Add(1)
			s.cfg.Logger.Error("certificate not reloaded; the old one stays", "file", w.files[0], "err", err)
			errs = append(errs, err)
		}
		if changed {
			fresh = append(fresh, i)
		}
	}
	if len(fresh) > 0 {
		s.index.Store(newIndex(s.certs))
	}
	for _, i := range fresh { // only now is it true
		s.reloads.Add(1)
		s.cfg.Logger.Info("certificate reloaded", "file", s.cfg.Pairs[i].Cert, "expires", s.certs[i].Leaf.NotAfter)
	}
	s.warnLocked(time.Now())
	return errors.Join(errs...)
}

// warnLocked logs which certificates end soon, each once.
func (s *Store) warnLocked(now time.Time) {
	for _, c := range s.certs {
		left := c.Leaf.NotAfter.Sub(now)
		if s.cfg.WarnBefore < 0 || left > s.cfg.WarnBefore || s.warned[c] {
			continue
		}
		s.warned[c] = true
		s.cfg.Logger.Warn("certificate expires soon", "names", c.Leaf.DNSNames, "expires", c.Leaf.NotAfter)
	}
}

// Stats are counts since the start of a Store, or of CAs.
type Stats struct {
	Reloads  int64     // new contents taken over
	Failures int64     // new contents refused
	Expires  time.Time // when the first certificate in use ends; zero for CAs
}

// Stats returns the counts so far.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := slices.MinFunc(s.certs, func(a, b *tls.Certificate) int { return a.Leaf.NotAfter.Compare(b.Leaf.NotAfter) })
	return Stats{Reloads: s.reloads.Load(), Failures: s.failures.Load(), Expires: first.Leaf.NotAfter}
}

// String returns the names that the certificates are for, for logs.
func (s *Store) String() string { return fmt.Sprint(s.index.Load().names()) }
