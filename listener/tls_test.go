// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/internal/bytebuf"
	"github.com/belay-proxy/belay/internal/netio"
	"github.com/belay-proxy/belay/internal/testnet/testcert"
	"github.com/belay-proxy/belay/proxy"
)

func TestTLSProfiles(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	store := newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}), ca.Issue(t, testcert.Spec{Names: []string{"a"}, RSA: true}))
	only12 := func(suites ...uint16) *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: suites}
	}
	with := func(groups ...tls.CurveID) *tls.Config { return &tls.Config{CurvePreferences: groups} }
	const (
		cbc    = tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA
		gcmRSA = tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
		chacha = tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	)
	tests := []struct {
		name   string
		policy TLSPolicy
		client *tls.Config
		want   string // "version group", "" for a refusal
	}{
		{"intermediate", TLSPolicy{}, &tls.Config{}, "TLS 1.3 X25519MLKEM768"},
		{"intermediate, X25519", TLSPolicy{}, with(tls.X25519), "TLS 1.3 X25519"},
		{"intermediate, P-384", TLSPolicy{}, with(tls.CurveP384), "TLS 1.3 CurveP384"},
		{"intermediate, P-521", TLSPolicy{}, with(tls.CurveP521), ""},
		{"intermediate, all groups", TLSPolicy{}, with(tls.CurveP384, tls.CurveP256, tls.X25519, tls.X25519MLKEM768), "TLS 1.3 X25519MLKEM768"},
		{"intermediate, TLS 1.2", TLSPolicy{}, only12(), "TLS 1.2 X25519"},
		{"intermediate, ChaCha", TLSPolicy{}, only12(chacha), "TLS 1.2 X25519"},
		{"intermediate, RSA", TLSPolicy{}, only12(gcmRSA), "TLS 1.2 X25519"},
		{"intermediate, CBC", TLSPolicy{}, only12(cbc), ""},
		{"intermediate, TLS 1.1", TLSPolicy{}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, ""},
		{"modern", TLSPolicy{Profile: Modern}, &tls.Config{}, "TLS 1.3 X25519MLKEM768"},
		{"modern, TLS 1.2", TLSPolicy{Profile: Modern}, only12(), ""},
		{"override version", TLSPolicy{MinVersion: tls.VersionTLS13}, only12(), ""},
		{"override modern", TLSPolicy{Profile: Modern, MinVersion: tls.VersionTLS12}, only12(), "TLS 1.2 X25519"},
		{"override suites", TLSPolicy{CipherSuites: []uint16{cbc}}, only12(cbc), "TLS 1.2 X25519"},
		{"override suites, others", TLSPolicy{CipherSuites: []uint16{cbc}}, only12(chacha), ""},
		{"override groups", TLSPolicy{Groups: []tls.CurveID{tls.CurveP521}}, with(tls.CurveP521, tls.X25519), "TLS 1.3 CurveP521"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, _ := newTLS(t, TLSConfig{Certificates: store, TLSPolicy: tt.policy})
			tt.client.RootCAs, tt.client.ServerName = ca.Pool(), "a"
			_, cs, err := talk(serveTLS(t, h), tt.client, "hi")
			got := ""
			if err == nil {
				got = tls.VersionName(cs.Version) + " " + cs.CurveID.String()
			}
			if got != tt.want {
				t.Errorf("agreed on %q, want %q (%v)", got, tt.want, err)
			}
		})
	}
}

func TestTLSDigest(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	client := ca.Intermediate(t, "team").Issue(t, testcert.Spec{Client: true, Names: []string{"me"}})
	var keys bytes.Buffer
	h, e := newTLS(t, TLSConfig{
		Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a.example"}})),
		TLSPolicy:    TLSPolicy{ClientAuth: ClientAuthOptional, ClientCAs: newCAs(t, ca)},
		ALPN:         []string{"h2", "http/1.1"},
		KeyLog:       &keys,
	})
	addr := serveTLS(t, h)
	cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "a.example", Certificates: []tls.Certificate{client},
		NextProtos: []string{"http/1.1", "h2"}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for range 2 {
		if _, _, err := talk(addr, cfg, "hi"); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := talk(addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}, "hi"); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(client.Leaf.Raw)
	want := []proxy.TLSDigest{
		{Version: tls.VersionTLS13, ALPN: "h2", ServerName: "a.example", ClientCertSHA256: hex.EncodeToString(sum[:])},
		{Version: tls.VersionTLS13, ALPN: "h2", ServerName: "a.example", ClientCertSHA256: hex.EncodeToString(sum[:]), Resumed: true},
		{Version: tls.VersionTLS12},
	}
	prefixes := []string{"t13d", "t13d", "t12i"}
	for i, got := range e.allFacts() {
		if tls.CipherSuiteName(got.CipherSuite) == "" || got.CipherSuite == 0 || len(got.JA4) != 36 || !strings.HasPrefix(got.JA4, prefixes[i]) {
			t.Errorf("connection %d: cipher suite %#x, JA4 %q, want one with %s", i, got.CipherSuite, got.JA4, prefixes[i])
		}
		got.CipherSuite, got.JA4 = 0, ""
		if got != want[i] {
			t.Errorf("connection %d: %+v, want %+v", i, got, want[i])
		}
	}
	if s := h.Stats(); s != (TLSStats{Handshakes: 3, Resumed: 1}) {
		t.Errorf("Stats = %+v, want 3 handshakes, 1 resumed", s)
	}
	if !strings.Contains(keys.String(), "CLIENT_TRAFFIC_SECRET_0 ") {
		t.Errorf("the key log is %q", keys.String())
	}
	if d := proxy.DigestTLS(&net.TCPConn{}); d != nil {
		t.Errorf("a plain connection has facts: %+v", d)
	}
}

// alpnEcho is an echo that knows protocols.
type alpnEcho struct{ echoHandler }

func (*alpnEcho) ALPN() []string { return []string{"h2", "http/1.1"} }

func TestTLSALPN(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	store := newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))
	tests := []struct {
		name          string
		handler       Handler
		config, offer []string
		want          string
		refused       bool
	}{
		{"default", new(echoHandler), nil, []string{"h2", "http/1.1"}, "http/1.1", false},
		{"default, h2 only", new(echoHandler), nil, []string{"h2"}, "", true},
		{"default, nothing offered", new(echoHandler), nil, nil, "", false},
		{"handler", new(alpnEcho), nil, []string{"http/1.1", "h2"}, "h2", false},
		{"handler, only http/1.1", new(alpnEcho), nil, []string{"http/1.1"}, "http/1.1", false},
		{"handler, overridden", new(alpnEcho), []string{"http/1.1"}, []string{"http/1.1", "h2"}, "http/1.1", false},
		{"none", new(alpnEcho), []string{}, []string{"http/1.1", "h2"}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, err := NewTLS(TLSConfig{Certificates: store, ALPN: tt.config, Logger: quiet}, tt.handler)
			if err != nil {
				t.Fatal(err)
			}
			_, cs, err := talk(serveTLS(t, h), &tls.Config{RootCAs: ca.Pool(), ServerName: "a", NextProtos: tt.offer}, "hi")
			if (err != nil) != tt.refused || cs.NegotiatedProtocol != tt.want {
				t.Errorf("agreed on %q, %v, want %q, refused: %v", cs.NegotiatedProtocol, err, tt.want, tt.refused)
			}
		})
	}
}

func TestClientAuth(t *testing.T) {
	t.Parallel()
	ca, good, bad := testcert.NewCA(t, "root"), testcert.NewCA(t, "good"), testcert.NewCA(t, "bad")
	store := newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))
	now := time.Now()
	clients := map[string]*tls.Certificate{
		"none":         nil,
		"good":         ptr(good.Issue(t, testcert.Spec{Client: true})),
		"intermediate": ptr(good.Intermediate(t, "team").Issue(t, testcert.Spec{Client: true})),
		"unknown":      ptr(bad.Issue(t, testcert.Spec{Client: true})),
		"of a server":  ptr(good.Issue(t, testcert.Spec{Names: []string{"x"}})),
		"expired":      ptr(good.Issue(t, testcert.Spec{Client: true, NotBefore: now.Add(-3 * time.Hour), NotAfter: now.Add(-time.Hour)})),
	}
	accepted := map[ClientAuth][]string{
		ClientAuthOff:      {"none", "good", "intermediate", "unknown", "of a server", "expired"},
		ClientAuthOptional: {"none", "good", "intermediate"},
		ClientAuthRequired: {"good", "intermediate"},
	}
	for auth, ok := range accepted {
		policy := TLSPolicy{ClientAuth: auth}
		if auth != ClientAuthOff {
			policy.ClientCAs = newCAs(t, good)
		}
		h, _ := newTLS(t, TLSConfig{Certificates: store, TLSPolicy: policy})
		addr := serveTLS(t, h)
		for name, c := range clients {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "a", MaxVersion: version}
				if c != nil {
					cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
				}
				want := false
				for _, n := range ok {
					want = want || n == name
				}
				if _, _, err := talk(addr, cfg, "hi"); (err == nil) != want {
					t.Errorf("%s, ClientAuth %d, client certificate %s: %v, want accepted: %v", tls.VersionName(version), auth, name, err, want)
				}
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestGetCertificate(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	dynamic := ca.Issue(t, testcert.Spec{Names: []string{"dynamic"}})
	h, _ := newTLS(t, TLSConfig{
		Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"static"}})),
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			switch hello.ServerName {
			case "dynamic":
				return &dynamic, nil
			case "error":
				return nil, errors.New("no")
			case "panic":
				panic("no")
			}
			return nil, nil
		},
	})
	addr := serveTLS(t, h)
	for name, want := range map[string]bool{"dynamic": true, "static": true, "error": false, "panic": false, "other": false} {
		if _, _, err := talk(addr, &tls.Config{RootCAs: ca.Pool(), ServerName: name}, "hi"); (err == nil) != want {
			t.Errorf("%s: %v, want accepted: %v", name, err, want)
		}
	}
}

func TestTLSConfigErrors(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	store := newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))
	cas := newCAs(t, ca)
	tests := []struct {
		name string
		cfg  TLSConfig
		want []string
	}{
		{"good", TLSConfig{Certificates: store}, nil},
		{"good hosts", TLSConfig{Certificates: store, Hosts: []TLSHost{{Names: []string{"A.example", "*.example", "x_y.example"}}}}, nil},
		{"no certificates", TLSConfig{}, []string{"Certificates and GetCertificate are both nil"}},
		{"old version", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{MinVersion: tls.VersionTLS11}}, []string{"MinVersion is TLS 1.1"}},
		{"future version", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{MinVersion: tls.VersionTLS13 + 1}}, []string{"MinVersion is 0x0305"}},
		{"weak suite", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}}, []string{"TLS_RSA_WITH_RC4_128_SHA"}},
		{"suite of 1.3", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256}}}, []string{"TLS_AES_128_GCM_SHA256"}},
		{"empty lists", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{CipherSuites: []uint16{}, Groups: []tls.CurveID{}}}, []string{"CipherSuites is empty", "Groups is empty"}},
		{"no authorities", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{ClientAuth: ClientAuthRequired}}, []string{"ClientCAs is nil"}},
		{"authorities for nothing", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{ClientCAs: cas}}, []string{"ClientCAs is set"}},
		{"numbers", TLSConfig{Certificates: store, TLSPolicy: TLSPolicy{Profile: 2, ClientAuth: 3, ClientCAs: cas}}, []string{"Profile is 2", "ClientAuth is 3"}},
		{"protocols", TLSConfig{Certificates: store, ALPN: []string{"", strings.Repeat("x", 256)}}, []string{"ALPN", "ALPN"}},
		{"hosts", TLSConfig{Certificates: store, Hosts: []TLSHost{{}, {Names: []string{"a.b", "A.B", "*", "a..b", "http://a", "a*.b", ""}}}},
			[]string{"Hosts[0]: there are no Names", "named before", `"*"`, `"a..b"`, `"http://a"`, `"a*.b"`, `""`}},
		{"host policy", TLSConfig{Certificates: store, Hosts: []TLSHost{{Names: []string{"a"}, TLSPolicy: TLSPolicy{ClientAuth: ClientAuthOptional}}}}, []string{"Hosts[0]: ClientCAs is nil"}},
	}
	for _, tt := range tests {
		_, err := NewTLS(tt.cfg, new(echoHandler))
		var lines []string
		if err != nil {
			lines = strings.Split(err.Error(), "\n")
		}
		if len(lines) != len(tt.want) {
			t.Errorf("%s: %d problems, want %d: %v", tt.name, len(lines), len(tt.want), err)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s: problem %d is %q, want it to contain %q", tt.name, i, lines[i], want)
			}
		}
	}
	if _, err := NewTLS(TLSConfig{Certificates: store}, nil); err == nil {
		t.Error("NewTLS took no handler")
	}
}

// A client that speaks HTTP where TLS is expected is told so.
func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	h, _ := newTLS(t, TLSConfig{Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))})
	addr := serveTLS(t, h)
	for request, want := range map[string]string{"GET / HTTP/1.1\r\n\r\n": "HTTP/1.1 400 Bad Request\r\n", "\x00\x01\x02\x03\x04\x05": ""} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, request)
		answer, _ := io.ReadAll(c)
		c.Close()
		if want != "" && !strings.HasPrefix(string(answer), want) {
			t.Errorf("answer to %q is %q, want %q", request, answer, want)
		}
	}
	if s := h.Stats(); s.Failed != 2 || s.TimedOut != 0 {
		t.Errorf("Stats = %+v, want 2 failed", s)
	}
}

// servePipe serves the far end of a pipe and returns the near one.
func servePipe(h *TLS) (near net.Conn, done *sync.WaitGroup) {
	near, far := net.Pipe()
	done = new(sync.WaitGroup)
	done.Go(func() { h.ServeConn(far) })
	return near, done
}

func TestHandshakeTimeout(t *testing.T) {
	for _, tt := range []struct{ limit, want time.Duration }{
		{0, 10 * time.Second}, {time.Second, time.Second}, {-1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ca := testcert.NewCA(t, "root")
			h, _ := newTLS(t, TLSConfig{HandshakeTimeout: tt.limit, Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))})
			start := time.Now()
			near, done := servePipe(h)
			near.Write([]byte{22, 3, 1}) // and no more
			if tt.want == 0 {
				time.Sleep(time.Hour)
				if s := h.Stats(); s.Pending != 1 || s.Failed != 0 {
					t.Errorf("without limit: Stats = %+v, want 1 pending", s)
				}
				near.Close()
			}
			done.Wait()
			if got := time.Since(start); tt.want != 0 && got != tt.want {
				t.Errorf("limit %v: given up after %v, want %v", tt.limit, got, tt.want)
			}
			if s := h.Stats(); tt.want != 0 && s != (TLSStats{Failed: 1, TimedOut: 1}) {
				t.Errorf("Stats = %+v, want 1 failed, for time", s)
			}
		})
	}
}

// A countingSigner counts how many signatures are made at the same time.
type countingSigner struct {
	crypto.Signer
	now, most *atomic.Int64
}

func (s countingSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	time.Sleep(time.Millisecond) // so that others have the time to go wrong
	return s.Signer.Sign(rand, digest, opts)
}

// Handshakes that wait for the client do not count against MaxHandshakes, and
// no more than that many compute.
func TestMaxHandshakes(t *testing.T) {
	t.Parallel()
	ca := testcert.NewCA(t, "root")
	c := ca.Issue(t, testcert.Spec{Names: []string{"a"}})
	var now, most atomic.Int64
	key := countingSigner{c.PrivateKey.(crypto.Signer), &now, &most}
	h, _ := newTLS(t, TLSConfig{
		MaxHandshakes: 2,
		Certificates:  newStore(t, tls.Certificate{Certificate: c.Certificate, PrivateKey: key}),
	})
	addr := serveTLS(t, h)
	for range 20 { // silent clients
		s, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			if _, _, err := talk(addr, &tls.Config{RootCAs: ca.Pool(), ServerName: "a"}, "hi"); err != nil {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if got := most.Load(); got < 1 || got > 2 {
		t.Errorf("%d handshakes computed at the same time, want 1 or 2", got)
	}
	if got := len(h.turns); got != 0 {
		t.Errorf("%d turns are still taken", got)
	}
}

// A handshake that gets no turn ends with its timeout.
func TestMaxHandshakesTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testcert.NewCA(t, "root")
		h, _ := newTLS(t, TLSConfig{MaxHandshakes: 1, Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))})
		h.turns <- struct{}{} // somebody computes, for ever
		near, done := servePipe(h)
		start := time.Now()
		err := tls.Client(near, &tls.Config{RootCAs: ca.Pool(), ServerName: "a"}).Handshake()
		if err == nil {
			t.Error("the handshake succeeded")
		}
		done.Wait()
		if got, want := time.Since(start), 10*time.Second; got != want {
			t.Errorf("given up after %v, want %v", got, want)
		}
		if s := h.Stats(); s.TimedOut != 1 || len(h.turns) != 1 {
			t.Errorf("Stats = %+v, %d turns taken, want 1 timed out, 1 taken", s, len(h.turns))
		}
	})
}

// Shutdown gives handshakes under way two seconds, and ends them when its
// context does.
func TestTLSShutdown(t *testing.T) {
	tests := []struct {
		name    string
		limit   time.Duration // of the handshake
		ctx     time.Duration
		want    time.Duration
		wantErr error
	}{
		{"grace", 0, time.Minute, drainGrace, nil},
		{"no limit", -1, time.Minute, drainGrace, nil},
		{"shorter limit", time.Second, time.Minute, time.Second, nil},
		{"shorter context", 0, time.Second, time.Second, context.DeadlineExceeded},
		{"at once", 0, 0, 0, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			ca := testcert.NewCA(t, "root")
			h, _ := newTLS(t, TLSConfig{HandshakeTimeout: tt.limit, Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))})
			start := time.Now()
			_, done := servePipe(h)
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), tt.ctx)
			defer cancel()
			if err := h.Shutdown(ctx); !errors.Is(err, tt.wantErr) {
				t.Errorf("%s: Shutdown = %v, want %v", tt.name, err, tt.wantErr)
			}
			if got := time.Since(start); got != tt.want {
				t.Errorf("%s: it took %v, want %v", tt.name, got, tt.want)
			}
			done.Wait()
			_, late := servePipe(h) // accepted just before
			late.Wait()
		})
	}
}

// A connection that comes from a handshake under way is served to its end
// before Shutdown returns, and the shutdown's deadline does not stay on it.
func TestTLSShutdownDuringHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := testcert.NewCA(t, "root")
		h, _ := newTLS(t, TLSConfig{NoTickets: true, Certificates: newStore(t, ca.Issue(t, testcert.Spec{Names: []string{"a"}}))})
		near, done := servePipe(h)
		synctest.Wait()
		ended := make(chan time.Duration)
		start := time.Now()
		go func() {
			if err := h.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			ended <- time.Since(start)
		}()
		time.Sleep(time.Second)
		c := tls.Client(near, &tls.Config{RootCAs: ca.Pool(), ServerName: "a"})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // longer than the handshake had
		go io.WriteString(c, "hi\n")
		b := make([]byte, 3)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hi\n" {
			t.Errorf("answer is %q, %v", b, err)
		}
		go io.Copy(io.Discard, near) // takes the goodbye
		c.Close()
		near.Close()
		if got, want := <-ended, 6*time.Second; got != want {
			t.Errorf("Shutdown took %v, want %v", got, want)
		}
		done.Wait()
	})
}

// raceEnabled tells a build with the race detector: there buffers are counted.
var raceEnabled = func() bool {
	b := bytebuf.Get(1)
	defer b.Release()
	return bytebuf.Outstanding() != 0
}()

// A certificate that changes every few milliseconds costs no handshake.
func TestReloadUnderLoad(t *testing.T) {
	handshakes := 5000
	if testing.Short() || raceEnabled {
		handshakes = 1000
	}
	dir := t.TempDir()
	ca := testcert.NewCA(t, "root")
	spec := testcert.Spec{Names: []string{"a"}}
	certFile, keyFile := testcert.Write(t, dir, "a", ca.Issue(t, spec))
	store, err := cert.New(cert.Config{Pairs: []cert.Pair{{Cert: certFile, Key: keyFile}}, PollInterval: 5 * time.Millisecond, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { _ = store.Run(ctx) })
	h, _ := newTLS(t, TLSConfig{Certificates: store, NoTickets: true})
	addr := serveTLS(t, h)

	var failed, made atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "a"}
			for made.Add(1) <= int64(handshakes) {
				if _, _, err := talk(addr, cfg, "hi"); err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	idle := make(chan struct{})
	go func() { clients.Wait(); close(idle) }()
	for done := false; !done; {
		testcert.Write(t, dir, "a", ca.Issue(t, spec))
		select {
		case <-idle:
			done = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	watch.Wait()
	if s := store.Stats(); s.Reloads < 10 {
		t.Errorf("%d reloads, want at least 10", s.Reloads)
	}
	if got := failed.Load(); got != 0 {
		t.Errorf("%d of %d handshakes failed", got, handshakes)
	}
}

// A handler is given what netio knows: such a connection waits for requests
// with one system call less, and without a buffer.
func TestTLSFastPath(t *testing.T) {
	t.Parallel()
	near, _ := net.Pipe()
	defer near.Close()
	l := &tlsLower{Transport: netio.NewTransport(near)}
	if netio.New(tls.Server(l, &tls.Config{})).Raw() {
		t.Error("a pipe is taken for a socket")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	l = &tlsLower{Transport: netio.NewTransport(nc)}
	if got, want := netio.New(tls.Server(l, &tls.Config{})).Raw(), netio.New(nc).Raw(); got != want {
		t.Errorf("Raw = %v above a socket of which it is %v", got, want)
	}
}
