// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// A Pair names the files of a certificate and its private key, both PEM. The
// certificate comes first in its file, and its intermediates follow. Both may
// be in one file.
type Pair struct{ Cert, Key string }

// parsePair returns the certificate in the contents of the files of p, or what
// is wrong with it.
func parsePair(p Pair, certPEM, keyPEM []byte, now time.Time) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.Cert, p.Key, err)
	}
	if err := checkTime(c.Leaf, now); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", p.Cert, err)
	}
	return &c, nil
}

// checkTime returns an error if a certificate is not valid now.
func checkTime(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("it expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("it is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkStatic completes a certificate that a program has made, and returns what
// is wrong with it.
func checkStatic(c *tls.Certificate, now time.Time) error {
	if len(c.Certificate) == 0 || c.PrivateKey == nil {
		return errors.New("certificate without certificate or key")
	}
	if c.Leaf == nil {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		c.Leaf = leaf
	}
	if err := checkTime(c.Leaf, now); err != nil {
		return fmt.Errorf("certificate of %q: %w", c.Leaf.Subject, err)
	}
	return nil
}
