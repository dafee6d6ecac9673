// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package testcert makes certificates for tests, good ones and bad ones.
//
//	ca := testcert.NewCA(t, "root")
//	server := ca.Issue(t, testcert.Spec{Names: []string{"example.com"}})
//	client := ca.Intermediate(t, "team").Issue(t, testcert.Spec{Client: true})
package testcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A CA issues certificates.
type CA struct {
	Cert *x509.Certificate

	key   crypto.Signer
	chain [][]byte // DER of what a leaf needs beside the root
}

// serial is the last serial number issued.
var serial atomic.Int64

// NewCA returns a root.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	return newCA(t, name, nil)
}

// Intermediate returns an authority that ca vouches for.
func (ca *CA) Intermediate(t testing.TB, name string) *CA {
	t.Helper()
	return newCA(t, name, ca)
}

func newCA(t testing.TB, name string, parent *CA) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial.Add(1)),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-365 * 24 * time.Hour),
		NotAfter:              time.Now().Add(365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	ca := &CA{key: key}
	signer, signerKey := template, crypto.Signer(key)
	if parent != nil {
		signer, signerKey = parent.Cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, key.Public(), signerKey)
	check(t, err)
	if parent != nil {
		ca.chain = append([][]byte{der}, parent.chain...)
	}
	ca.Cert, err = x509.ParseCertificate(der)
	check(t, err)
	return ca
}

// Pool returns a pool with ca in it.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// PEM returns ca's own certificate.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
}

// A Spec says what a certificate is to be like.
type Spec struct {
	Names     []string  // host names and IP addresses; the first is the subject
	RSA       bool      // instead of ECDSA with P-256
	Client    bool      // for a client; otherwise for a server
	NotBefore time.Time // zero means an hour ago
	NotAfter  time.Time // zero means in 30 days
}

// Issue makes a certificate, with the chain up to the root but without that.
func (ca *CA) Issue(t testing.TB, s Spec) tls.Certificate {
	t.Helper()
	key := newKey(t, s.RSA)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)),
		NotBefore:    s.NotBefore,
		NotAfter:     s.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if s.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if s.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(30 * 24 * time.Hour)
	}
	if s.Client {
		template.ExtKeyUsage[0] = x509.ExtKeyUsageClientAuth
	}
	if len(s.Names) > 0 {
		template.Subject.CommonName = s.Names[0]
	}
	for _, n := range s.Names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.key)
	check(t, err)
	leaf, err := x509.ParseCertificate(der)
	check(t, err)
	return tls.Certificate{Certificate: append([][]byte{der}, ca.chain...), PrivateKey: key, Leaf: leaf}
}

// rsaKey is one key for all, because making one takes long.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func newKey(t testing.TB, isRSA bool) crypto.Signer {
	t.Helper()
	if isRSA {
		key, err := rsaKey()
		check(t, err)
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return key
}

// PEM returns a certificate with its chain, and its key.
func PEM(t testing.TB, c tls.Certificate) (certPEM, keyPEM []byte) {
	t.Helper()
	var b bytes.Buffer
	for _, der := range c.Certificate {
		check(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	check(t, err)
	return b.Bytes(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Write writes a certificate and its key to dir/name.crt and dir/name.key, each
// in one step as a careful program does, and returns the names of the files.
func Write(t testing.TB, dir, name string, c tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	certPEM, keyPEM := PEM(t, c)
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	Replace(t, keyFile, keyPEM)
	Replace(t, certFile, certPEM)
	return certFile, keyFile
}

// Replace writes a file under another name and then renames it.
func Replace(t testing.TB, name string, content []byte) {
	t.Helper()
	check(t, os.WriteFile(name+".new", content, 0o600))
	check(t, os.Rename(name+".new", name))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
