// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// CAConfig configures CAs. A CAConfig must not be modified after it has been
// passed to NewCAs.
type CAConfig struct {
	// Files have certificates of authorities, PEM, one or more each.
	Files []string

	// Certificates are authorities that the program knows.
	Certificates []*x509.Certificate

	// PollInterval is how often Run looks whether files have changed. Zero
	// means every second; negative means never.
	PollInterval time.Duration

	// Logger receives reloads and what went wrong with them. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// CAs are the authorities that may vouch for a client's certificate. They are
// safe for concurrent use.
type CAs struct {
	cfg CAConfig
	set atomic.Pointer[CASet]

	reloads, failures atomic.Int64

	mu    sync.Mutex
	files []*watched            // guarded by mu
	certs [][]*x509.Certificate // of each file; guarded by mu
}

// A CASet is a set of authorities at one time. It never changes.
type CASet struct {
	// Pool has the authorities. It must not be modified.
	Pool *x509.CertPool
	// ID differs between sets of different authorities.
	ID [32]byte
}

// NewCAs loads authorities. The error lists each file that is missing or has
// no certificate. A set without any would let nobody in, and is an error.
func NewCAs(cfg CAConfig) (*CAs, error) {
	cfg.PollInterval = cmp.Or(cfg.PollInterval, defaultPoll)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	a := &CAs{cfg: cfg, certs: make([][]*x509.Certificate, len(cfg.Files))}
	var errs []error
	for i, name := range cfg.Files {
		w := &watched{files: []string{name}, use: func(contents [][]byte) error { return a.useLocked(i, contents[0]) }}
		_, err := w.reload()
		errs = append(errs, err)
		a.files = append(a.files, w)
	}
	if len(cfg.Files)+len(cfg.Certificates) == 0 {
		errs = append(errs, errors.New("there are no certificates of authorities"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	a.publishLocked()
	return a, nil
}

// useLocked takes over the content of a file.
func (a *CAs) useLocked(i int, content []byte) error {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("authorities in %s: %w", a.cfg.Files[i], err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return fmt.Errorf("authorities in %s: it has no certificate", a.cfg.Files[i])
	}
	a.certs[i] = certs
	return nil
}

// publishLocked makes what has been loaded the current set.
func (a *CAs) publishLocked() {
	all := slices.Concat(append(slices.Clone(a.certs), a.cfg.Certificates)...)
	set := &CASet{Pool: x509.NewCertPool()}
	hash := sha256.New()
	for _, c := range all {
		set.Pool.AddCert(c)
		sum := sha256.Sum256(c.Raw)
		hash.Write(sum[:])
	}
	set.ID = [32]byte(hash.Sum(nil))
	a.set.Store(set)
}

// Current returns the authorities of now.
func (a *CAs) Current() *CASet { return a.set.Load() }

// Reload reads all files again and takes over what has changed. The
// authorities of a file that is no good stay, and the error says what is wrong
// with it.
func (a *CAs) Reload() error { return a.update((*watched).reload) }

// Run takes over files that change, until ctx ends. It is a background
// service.
func (a *CAs) Run(ctx context.Context) error {
	return every(ctx, a.cfg.PollInterval, func() { _ = a.update((*watched).poll) }) // update logs
}

func (a *CAs) update(look func(*watched) (bool, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	var fresh []string
	for _, w := range a.files {
		changed, err := look(w)
		if err != nil {
			a.failures.Add(1)
			a.cfg.Logger.Error("authorities not reloaded; the old ones stay", "file", w.files[0], "err", err)
			errs = append(errs, err)
		}
		if changed {
			fresh = append(fresh, w.files[0])
		}
	}
	if len(fresh) > 0 {
		a.publishLocked()
	}
	for _, name := range fresh { // only now is it true
		a.reloads.Add(1)
		a.cfg.Logger.Info("authorities reloaded", "file", name)
	}
	return errors.Join(errs...)
}

// Stats returns the counts so far.
func (a *CAs) Stats() Stats { return Stats{Reloads: a.reloads.Load(), Failures: a.failures.Load()} }
