// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
)

// oneSession is a session cache that gives out the same session whatever the
// name, as a hostile client can.
type oneSession struct{ s *tls.ClientSessionState }

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) { return o.s, o.s != nil }
func (o *oneSession) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		o.s = s
	}
}

// A session is resumed only for the name that it was begun for, and so only
// under the same policy. For every pair of hosts, with and without a client
// certificate: what may be resumed, and that no host that demands a certificate
// is reached without one.
func TestResumptionMatrix(t *testing.T) {
	t.Parallel()
	ca, clients := testcert.NewCA(t, "root"), testcert.NewCA(t, "clients")
	names := []string{"open.example", "open2.example", "asks.example", "wants.example", "wants2.example", "other.example", "x.wild.example"}
	other := newCAs(t, clients, testcert.NewCA(t, "more"))
	h, _ := newTLS(t, TLSConfig{
		Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: names})),
		Hosts: []TLSHost{
			{Names: []string{"asks.example"}, TLSPolicy: TLSPolicy{ClientAuth: ClientAuthOptional, ClientCAs: newCAs(t, clients)}},
			{Names: []string{"wants.example", "wants2.example"}, TLSPolicy: TLSPolicy{ClientAuth: ClientAuthRequired, ClientCAs: newCAs(t, clients)}},
			{Names: []string{"Other.Example"}, TLSPolicy: TLSPolicy{ClientAuth: ClientAuthRequired, ClientCAs: other}},
			{Names: []string{"*.wild.example"}, TLSPolicy: TLSPolicy{Profile: Modern}},
		},
	})
	addr := serveTLS(t, h)
	client := clients.Issue(t, testcert.Spec{Client: true})
	demands := map[string]bool{"wants.example": true, "wants2.example": true, "other.example": true}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, withCert := range []bool{false, true} {
			for _, from := range names {
				for _, to := range names {
					session := new(oneSession)
					dial := func(name string, show bool) (bool, error) {
						cfg := &tls.Config{InsecureSkipVerify: true, ServerName: name, MaxVersion: version, ClientSessionCache: session}
						if show {
							cfg.Certificates = []tls.Certificate{client}
						}
						_, cs, err := talk(addr, cfg, "hi")
						return cs.DidResume, err
					}
					modern := from == "x.wild.example" || to == "x.wild.example"
					if modern && version == tls.VersionTLS12 || demands[from] && !withCert {
						continue
					}
					label := fmt.Sprintf("%s, certificate %v, %s to %s", tls.VersionName(version), withCert, from, to)
					if resumed, err := dial(from, withCert); resumed || err != nil {
						t.Errorf("%s: first connection: resumed %v, %v", label, resumed, err)
						continue
					}
					// The second connection has no certificate to show.
					resumed, err := dial(to, false)
					if want := from == to; resumed != want {
						t.Errorf("%s: resumed %v, want %v (%v)", label, resumed, want, err)
					}
					if want := !demands[to] || from == to; (err == nil) != want {
						t.Errorf("%s: %v, want accepted: %v", label, err, want)
					}
				}
			}
		}
	}
}

// Sessions end with the authorities that vouched for their client.
func TestResumptionAfterCAChange(t *testing.T) {
	t.Parallel()
	ca, one, two := testcert.NewCA(t, "root"), testcert.NewCA(t, "one"), testcert.NewCA(t, "two")
	file := filepath.Join(t.TempDir(), "ca.pem")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		testcert.Replace(t, file, one.PEM())
		cas, err := cert.NewCAs(cert.CAConfig{Files: []string{file}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		h, _ := newTLS(t, TLSConfig{
			Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}})),
			TLSPolicy:    TLSPolicy{ClientAuth: ClientAuthRequired, ClientCAs: cas},
		})
		addr := serveTLS(t, h)
		cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "a", MaxVersion: version, ClientSessionCache: new(oneSession),
			Certificates: []tls.Certificate{one.Issue(t, testcert.Spec{Client: true})}}
		check := func(when string, wantResumed, wantOK bool) {
			t.Helper()
			_, cs, err := talk(addr, cfg, "hi")
			if cs.DidResume != wantResumed || (err == nil) != wantOK {
				t.Errorf("%s, %s: resumed %v, %v, want resumed %v, accepted %v", tls.VersionName(version), when, cs.DidResume, err, wantResumed, wantOK)
			}
		}
		check("first", false, true)
		check("again", true, true)
		testcert.Replace(t, file, append(one.PEM(), two.PEM()...))
		if err := cas.Reload(); err != nil {
			t.Fatal(err)
		}
		check("another authority", false, true)
		check("another authority, again", true, true)
		testcert.Replace(t, file, two.PEM())
		if err := cas.Reload(); err != nil {
			t.Fatal(err)
		}
		check("authority gone", false, false)
	}
}

func TestNoTickets(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	h, _ := newTLS(t, TLSConfig{NoTickets: true, Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))})
	addr := serveTLS(t, h)
	cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "a", ClientSessionCache: new(oneSession)}
	for range 2 {
		if _, cs, err := talk(addr, cfg, "hi"); err != nil || cs.DidResume {
			t.Errorf("resumed %v, %v", cs.DidResume, err)
		}
	}
}

// Handlers with the same keys resume each other's sessions, if their policies
// agree, as a new process does after Import.
func TestTicketKeysShared(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	store := newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))
	keys, imported := NewTicketKeys(), NewTicketKeys()
	if err := imported.Import(keys.Export()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		cfg  TLSConfig
		want bool
	}{
		{"same keys", TLSConfig{TicketKeys: keys}, true},
		{"imported keys", TLSConfig{TicketKeys: imported}, true},
		{"own keys", TLSConfig{}, false},
		{"other policy", TLSConfig{TicketKeys: keys, TLSPolicy: TLSPolicy{ClientAuth: ClientAuthOptional, ClientCAs: newCAs(t, ca)}}, false},
		{"other suites", TLSConfig{TicketKeys: keys, TLSPolicy: TLSPolicy{CipherSuites: intermediateSuites[:2]}}, false},
	}
	for _, tt := range tests {
		session := new(oneSession)
		first, _ := newTLS(t, TLSConfig{Certificates: store, TicketKeys: keys})
		tt.cfg.Certificates = store
		second, _ := newTLS(t, tt.cfg)
		cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "a", ClientSessionCache: session}
		if _, _, err := talk(serveTLS(t, first), cfg, "hi"); err != nil {
			t.Fatal(err)
		}
		if _, cs, err := talk(serveTLS(t, second), cfg, "hi"); err != nil || cs.DidResume != tt.want {
			t.Errorf("%s: resumed %v, %v, want %v", tt.name, cs.DidResume, err, tt.want)
		}
	}
}

// Secrets are replaced every 8 hours, and the last three are kept.
func TestTicketRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewTicketKeys()
		first := k.current()
		time.Sleep(ticketRotation - time.Nanosecond)
		if k.current() != first {
			t.Error("a new secret too early")
		}
		time.Sleep(time.Nanosecond)
		second := k.current()
		if second == first || second.list[1] != first.list[0] || second.list[0] == first.list[0] {
			t.Errorf("after %v: %d secrets, the newest %v old", ticketRotation, len(second.list), time.Since(second.list[0].made))
		}
		for range 5 {
			time.Sleep(ticketRotation)
			k.current()
		}
		if got := len(k.current().list); got != ticketSecretsN {
			t.Errorf("%d secrets are kept, want %d", got, ticketSecretsN)
		}
		time.Sleep(30 * 24 * time.Hour)
		if got := len(k.current().list); got != 1 {
			t.Errorf("%d secrets after a long rest, want 1", got)
		}
		old := k.current().list[0]
		for range ticketSecretsN {
			k.Rotate()
		}
		for _, s := range k.current().list {
			if s == old {
				t.Error("a secret survives three rotations")
			}
		}
	})
}

func FuzzTicketKeysImport(f *testing.F) {
	k := NewTicketKeys()
	f.Add(k.Export())
	k.Rotate()
	f.Add(k.Export())
	f.Add([]byte{})
	f.Add([]byte{ticketsVersion})
	f.Fuzz(func(t *testing.T, in []byte) {
		k := NewTicketKeys()
		before := k.set.Load()
		if err := k.Import(in); err != nil {
			if k.set.Load() != before {
				t.Errorf("Import(%x) failed and changed the keys", in)
			}
			return
		}
		list := k.set.Load().list
		if n := len(list); n < 1 || n > ticketSecretsN {
			t.Errorf("Import(%x) made %d secrets", in, n)
		}
		if now := time.Now(); !k.set.Load().due(now) && !bytes.Equal(k.Export(), in) {
			t.Errorf("Export = %x, want what was imported, %x", k.Export(), in)
		}
	})
}
