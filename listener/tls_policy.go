// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/belay-proxy/belay/cert"
)

// tlsPolicies finds the policy for a name.
type tlsPolicies struct {
	fallback *tlsPolicy
	byName   map[string]*tlsPolicy // lower case; "*." stands for one label
}

// newTLSPolicies makes the policies of a config with defaults.
func newTLSPolicies(c *TLSConfig) *tlsPolicies {
	ps := &tlsPolicies{fallback: &tlsPolicy{tls: c, TLSPolicy: c.TLSPolicy}, byName: make(map[string]*tlsPolicy)}
	for _, h := range c.Hosts {
		p := &tlsPolicy{tls: c, TLSPolicy: h.TLSPolicy, names: h.Names}
		for _, name := range h.Names {
			ps.byName[strings.ToLower(name)] = p
		}
	}
	return ps
}

// find returns the policy for a name, which may have a dot at its end.
func (ps *tlsPolicies) find(name string) *tlsPolicy {
	if len(ps.byName) == 0 {
		return ps.fallback
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if p := ps.byName[name]; p != nil {
		return p
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if p := ps.byName["*."+parent]; p != nil {
			return p
		}
	}
	return ps.fallback
}

// A tlsPolicy is a TLSPolicy at work.
type tlsPolicy struct {
	TLSPolicy
	tls   *TLSConfig
	names []string // of the TLSHost

	built atomic.Pointer[builtPolicy]
	mu    sync.Mutex // held while building
}

// A builtPolicy is a configuration and what it was made from. When a part of
// that has been replaced, so is the configuration; one that is in use is never
// modified.
type builtPolicy struct {
	cas    *cert.CASet
	keys   *ticketSecrets
	config *tls.Config
}

// current returns the configuration for a handshake that begins now.
func (p *tlsPolicy) current() *tls.Config {
	var cas *cert.CASet
	var keys *ticketSecrets
	if p.ClientCAs != nil {
		cas = p.ClientCAs.Current()
	}
	if p.tls.TicketKeys != nil && !p.tls.NoTickets {
		keys = p.tls.TicketKeys.current()
	}
	if b := p.built.Load(); b != nil && b.cas == cas && b.keys == keys {
		return b.config
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.built.Load(); b != nil && b.cas == cas && b.keys == keys {
		return b.config
	}
	b := &builtPolicy{cas: cas, keys: keys, config: p.build(cas, keys)}
	p.built.Store(b)
	return b.config
}

// build makes a configuration.
func (p *tlsPolicy) build(cas *cert.CASet, keys *ticketSecrets) *tls.Config {
	c := &tls.Config{
		GetCertificate:   p.certificate,
		NextProtos:       p.tls.ALPN,
		MinVersion:       p.MinVersion,
		CipherSuites:     p.CipherSuites,
		CurvePreferences: p.Groups,
		KeyLogWriter:     p.tls.KeyLog,
	}
	switch p.ClientAuth {
	case ClientAuthOptional:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	case ClientAuthRequired:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if cas != nil {
		c.ClientCAs = cas.Pool
	}
	if keys == nil {
		c.SessionTicketsDisabled = true
		return c
	}
	// Only a ticket of this very policy, under these authorities, decrypts,
	// and only for the name that it was issued for is it accepted.
	c.SetSessionTicketKeys(keys.derive(p.id(cas)))
	c.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
		s.Extra = append(s.Extra, ticketName(cs.ServerName))
		return c.EncryptTicket(cs, s)
	}
	c.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		s, err := c.DecryptTicket(identity, cs)
		if err != nil || s == nil || len(s.Extra) != 1 || !bytes.Equal(s.Extra[0], ticketName(cs.ServerName)) {
			return nil, nil // not an error: a full handshake follows
		}
		return s, nil
	}
	return c
}

// certificate chooses the certificate for a handshake.
func (p *tlsPolicy) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if get := p.tls.GetCertificate; get != nil {
		l := hello.Conn.(*tlsLower)
		l.yield() // it may wait
		c, err := get(hello)
		if err == nil {
			err = l.takeTurn()
		}
		if c != nil || err != nil || p.tls.Certificates == nil {
			return c, err
		}
	}
	return p.tls.Certificates.Get(hello)
}

// ticketName is what a ticket has about the name that it was issued for.
func ticketName(serverName string) []byte {
	return []byte("belay name " + strings.ToLower(serverName))
}

// id names everything that a session may not outlive: what is asked of
// clients, for which names, and who vouches for them.
func (p *tlsPolicy) id(cas *cert.CASet) []byte {
	b := []byte{byte(p.ClientAuth)}
	b = binary.BigEndian.AppendUint16(b, p.MinVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.CipherSuites)))
	for _, s := range p.CipherSuites {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	if cas != nil {
		b = append(b, cas.ID[:]...)
	}
	for _, name := range p.names {
		b = append(append(b, 0), strings.ToLower(name)...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// derive returns the keys for tickets of one policy, the one for new ones
// first.
func (t *ticketSecrets) derive(policy []byte) [][32]byte {
	keys := make([][32]byte, len(t.list))
	for i, s := range t.list {
		k, err := hkdf.Key(sha256.New, s.secret[:], nil, "belay session tickets "+string(policy), 32)
		if err != nil {
			panic("listener: " + err.Error()) // only for keys of impossible length
		}
		keys[i] = [32]byte(k)
	}
	return keys
}
