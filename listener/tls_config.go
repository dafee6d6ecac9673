// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/belay-proxy/belay/cert"
)

// TLSConfig says how the connections of a TLS handler are secured. It needs
// certificates; the zero value of every other field is the usual choice. A
// TLSConfig must not be modified after it has been passed to NewTLS.
//
// Encrypted Client Hello, renegotiation and early data are always off.
type TLSConfig struct {
	// Certificates are chosen by the name that the client asks for.
	Certificates *cert.Store

	// GetCertificate, if not nil, is asked for a certificate before
	// Certificates are, which come in if it returns nil without an error.
	// It may block, within HandshakeTimeout.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// TLSPolicy is for all names that are not of one of the Hosts, and for
	// clients that name none.
	TLSPolicy

	// Hosts have policies of their own. A session that was begun with one of
	// them cannot be resumed with another, and a connection that was made
	// with one does not serve the names of another.
	Hosts []TLSHost

	// ALPN are the protocols to agree on, the preferred one first. Nil means
	// those of the handler, if it has a method ALPN() []string, and otherwise
	// "http/1.1". A client that offers only others is refused (RFC 7301
	// section 3.2); one that offers none gets none.
	ALPN []string

	// HandshakeTimeout bounds the time from accepting to the end of the
	// handshake. Zero means 10 seconds; negative means no limit.
	HandshakeTimeout time.Duration

	// MaxHandshakes limits how many handshakes may compute at the same time,
	// so that a rush of new clients leaves the processors to those that are
	// there. The rest wait their turn, within HandshakeTimeout. A handshake
	// that waits for the client does not count, so silent clients hold up
	// nobody. Zero means 16, or four for each processor if that is more;
	// negative means no limit.
	MaxHandshakes int

	// NoTickets turns resumption off.
	NoTickets bool

	// TicketKeys seal session tickets. Nil means keys of the handler's own;
	// handlers that share them, of several listeners or processes, resume
	// each other's sessions where their policies are the same.
	TicketKeys *TicketKeys

	// KeyLog receives the secrets of all connections in the format of NSS,
	// with which captured traffic can be read. For debugging only.
	KeyLog io.Writer

	// Logger receives failed handshakes, at level debug, and that KeyLog is
	// in use. Nil means slog.Default().
	Logger *slog.Logger
}

// TLSPolicy is what TLS asks of clients.
type TLSPolicy struct {
	// Profile is a set of versions, cipher suites and groups. Zero means
	// Intermediate.
	Profile TLSProfile

	// MinVersion overrides that of the profile: tls.VersionTLS12 or
	// tls.VersionTLS13. Zero means the profile's. Older versions are not
	// available (RFC 8996).
	MinVersion uint16

	// CipherSuites override those of the profile for TLS 1.2. Those of
	// TLS 1.3 cannot be chosen. Nil means the profile's.
	CipherSuites []uint16

	// Groups override those of the profile for the key exchange. The order
	// has no meaning. Nil means the profile's.
	Groups []tls.CurveID

	// ClientAuth says whether clients have to show a certificate. Zero means
	// ClientAuthOff.
	ClientAuth ClientAuth

	// ClientCAs vouch for the certificates of clients. Required unless
	// ClientAuth is ClientAuthOff. Sessions that were begun under other
	// authorities are not resumed.
	ClientCAs *cert.CAs
}

// A TLSHost is a policy for some names.
type TLSHost struct {
	// Names are host names, "example.com", or "*.example.com" for all names
	// with exactly one label more. Case does not matter. An exact name takes
	// precedence.
	Names []string

	TLSPolicy
}

// A TLSProfile is a set of versions, cipher suites and groups, as Mozilla's
// guidelines name it (version 6.0).
type TLSProfile uint8

// The profiles. Both prefer the group X25519MLKEM768, which withstands quantum
// computers, and have X25519, P-256 and P-384.
const (
	Intermediate TLSProfile = iota // TLS 1.2 with ECDHE and AEAD, and 1.3
	Modern                         // TLS 1.3 only
)

// ClientAuth says whether clients have to show a certificate.
type ClientAuth uint8

// The choices.
const (
	ClientAuthOff      ClientAuth = iota // not asked for
	ClientAuthOptional                   // asked for, and refused if it is not valid
	ClientAuthRequired                   // no connection without a valid one
)

// intermediateSuites are the cipher suites for TLS 1.2 of both profiles. Go
// chooses among them by what the two machines are fast at.
var intermediateSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// intermediateGroups are the groups of both profiles.
var intermediateGroups = []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384}

// withDefaults returns c with every zero field replaced by its default.
func (c TLSConfig) withDefaults(handler Handler) TLSConfig {
	if c.ALPN == nil {
		c.ALPN = []string{"http/1.1"}
		if h, ok := handler.(interface{ ALPN() []string }); ok {
			c.ALPN = h.ALPN()
		}
	}
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 10*time.Second)
	c.MaxHandshakes = cmp.Or(c.MaxHandshakes, max(16, 4*runtime.GOMAXPROCS(0)))
	if c.TicketKeys == nil && !c.NoTickets {
		c.TicketKeys = NewTicketKeys()
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.TLSPolicy = c.TLSPolicy.withDefaults()
	c.Hosts = slices.Clone(c.Hosts)
	for i := range c.Hosts {
		c.Hosts[i].TLSPolicy = c.Hosts[i].TLSPolicy.withDefaults()
	}
	return c
}

// withDefaults returns p with every zero field replaced by its default.
func (p TLSPolicy) withDefaults() TLSPolicy {
	least := uint16(tls.VersionTLS12)
	if p.Profile == Modern {
		least = tls.VersionTLS13
	}
	p.MinVersion = cmp.Or(p.MinVersion, least)
	if p.CipherSuites == nil {
		p.CipherSuites = intermediateSuites
	}
	if p.Groups == nil {
		p.Groups = intermediateGroups
	}
	return p
}

// Validate returns every problem with c, joined, or nil.
func (c TLSConfig) Validate() error {
	var v tlsValidator
	v.check(c.Certificates != nil || c.GetCertificate != nil, "Certificates and GetCertificate are both nil")
	v.policy("", c.TLSPolicy)
	seen := map[string]bool{}
	for i, h := range c.Hosts {
		where := fmt.Sprintf("Hosts[%d]: ", i)
		v.check(len(h.Names) > 0, "%sthere are no Names", where)
		for _, name := range h.Names {
			key := strings.ToLower(name)
			v.check(validHostPattern(key), "%s%q is not a host name", where, name)
			v.check(!seen[key], "%s%q has been named before", where, name)
			seen[key] = true
		}
		v.policy(where, h.TLSPolicy)
	}
	for _, p := range c.ALPN {
		v.check(p != "" && len(p) <= 255, "ALPN has %q, want 1 to 255 bytes", p)
	}
	return errors.Join(v.errs...)
}

// tlsValidator gathers what is wrong with a TLSConfig.
type tlsValidator struct{ errs []error }

func (v *tlsValidator) check(ok bool, format string, args ...any) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf("listener: TLS: "+format, args...))
	}
}

func (v *tlsValidator) policy(where string, p TLSPolicy) {
	v.check(p.Profile <= Modern, "%sProfile is %d, want Intermediate or Modern", where, p.Profile)
	v.check(p.MinVersion == 0 || p.MinVersion == tls.VersionTLS12 || p.MinVersion == tls.VersionTLS13,
		"%sMinVersion is %s, want TLS 1.2 or TLS 1.3", where, tls.VersionName(p.MinVersion))
	for _, id := range p.CipherSuites {
		ok := slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool {
			return s.ID == id && slices.Contains(s.SupportedVersions, tls.VersionTLS12)
		})
		v.check(ok, "%sCipherSuites has %s, which is not a secure one of TLS 1.2", where, tls.CipherSuiteName(id))
	}
	v.check(p.CipherSuites == nil || len(p.CipherSuites) > 0, "%sCipherSuites is empty", where)
	v.check(p.Groups == nil || len(p.Groups) > 0, "%sGroups is empty", where)
	v.check(p.ClientAuth <= ClientAuthRequired, "%sClientAuth is %d, want ClientAuthOff, -Optional or -Required", where, p.ClientAuth)
	v.check(p.ClientAuth == ClientAuthOff || p.ClientCAs != nil, "%sClientCAs is nil, but clients are asked for certificates", where)
	v.check(p.ClientAuth != ClientAuthOff || p.ClientCAs == nil, "%sClientCAs is set, but ClientAuth is ClientAuthOff", where)
}

// validHostPattern reports whether name is a host name or "*." and one.
func validHostPattern(name string) bool {
	name = strings.TrimPrefix(name, "*.")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}
