// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/filter/accesslog"
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/listener"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/server"
	"github.com/belay-proxy/belay/upstream"
)

// DefaultListen is where a Proxy listens that is not told otherwise: for this
// machine only.
const DefaultListen = "127.0.0.1:8080"

// ProxyConfig says what a load balancer does. Backends are required; the zero
// value of every other field is the usual choice.
type ProxyConfig struct {
	// Listen are the addresses to accept connections on, as listener.Config
	// has them. None means DefaultListen if there is no HTTPS either.
	Listen []string

	// HTTPS are the addresses to accept connections with TLS on.
	HTTPS []string

	// Certificates are for HTTPS, which needs one at least. The client's
	// choice of a name decides; the first is for those who make none.
	Certificates []cert.Pair

	selfSigned []tls.Certificate // more of them, for the demo

	// TLSProfile says what TLS is like on HTTPS. Zero means intermediate.
	TLSProfile listener.TLSProfile

	// Backends share the requests, in turn and by weight, as ParseBackend
	// makes them.
	Backends []balancer.Backend

	// UpstreamCA is a file with the certificates, in PEM, of the authorities
	// that vouch for backends. Empty means what the file says, or those of
	// the system.
	UpstreamCA string

	// UpstreamServerName is the name that backends with TLS are asked for by
	// SNI and must have a certificate for. Empty means the host of each.
	UpstreamServerName string

	// UpstreamInsecureSkipVerify accepts any certificate of a backend.
	UpstreamInsecureSkipVerify bool

	// HealthCheck says by what backends are checked. Zero means CheckTCP.
	HealthCheck HealthCheck

	// Health says how often and how strictly to check. Its zero value means
	// every second.
	Health health.Config

	// MaxRetries is how many attempts may follow the first one of a request,
	// each at another backend. Zero means what the file says, or 3; negative
	// means none.
	MaxRetries int

	// Host is the Host of requests to the backends. Empty means the client's.
	Host string

	// H2C also takes HTTP/2 without TLS on Listen, from clients that start with
	// its preface (RFC 9113, section 3.3).
	H2C bool

	// GracePeriod bounds how long the end waits for exchanges in hand. Zero
	// means what the file says, or 300 seconds; negative means that they are
	// cut off at once.
	GracePeriod time.Duration

	// Threads is how many threads run Go code at the same time. Zero means
	// what the file says, or as many as there are processors.
	Threads int

	// AccessLog is the file that gets a line for each request, or "-" for
	// standard output. Empty means none.
	AccessLog string

	// MaxConns limits how many clients may be connected to each of Listen
	// and HTTPS at the same time. Zero means no limit.
	MaxConns int

	// Logger receives the log. Nil means standard error, as the environment
	// variable BELAY_LOG asks for it.
	Logger *slog.Logger

	// Options are the options that all servers have: a configuration file,
	// running in the background, taking over from a running process.
	Options server.Options

	// AdminListen is where questions about health are answered. Empty means
	// what the file says, or nowhere.
	AdminListen string

	// Signals end the process. Nil means its own, as package server has them.
	Signals <-chan os.Signal

	// OnChange is told when a backend fails or comes back. Nil means that
	// nobody wants to know.
	OnChange func(b balancer.Backend, healthy bool)

	// OnRequest is told of each request when it is over. It costs a little
	// for each. Nil means that nobody wants to know.
	OnRequest func(s *proxy.Session, err error)

	// Ready receives one line when connections are accepted: where, and what
	// is behind. Nil means that nobody wants to know.
	Ready io.Writer
}

// A Proxy is a load balancer, ready to run.
type Proxy struct {
	cfg     ProxyConfig
	server  *server.Server
	backend *balancer.Balancer
	access  *accesslog.Writer // nil for none
	plain   *server.Service   // nil for none
	secure  *server.Service   // nil for none

	announced bool // by onPhase, one call at a time
}

// NewProxy returns a load balancer that has not started yet. It waits for the
// look-up of backends that are given by name.
func NewProxy(ctx context.Context, cfg ProxyConfig) (*Proxy, error) {
	if len(cfg.Backends) == 0 {
		return nil, errors.New("there is no backend")
	}
	if len(cfg.Listen)+len(cfg.HTTPS) == 0 {
		cfg.Listen = []string{DefaultListen}
	}
	if err := checkLoop(slices.Concat(cfg.Listen, cfg.HTTPS), cfg.Backends); err != nil {
		return nil, err
	}
	if err := resolveAll(ctx, cfg.Backends); err != nil {
		return nil, err
	}
	cfg.Backends = withUpstreamTLS(cfg)
	p := &Proxy{cfg: cfg}
	var err error
	p.server, err = server.New(server.Config{
		Options: cfg.Options,
		Adjust:  cfg.adjust,
		Logger:  cfg.Logger,
		Signals: cfg.Signals,
		OnPhase: p.onPhase,
	})
	if err != nil {
		return nil, err
	}
	if p.backend, err = p.newBalancer(); err != nil {
		return nil, err
	}
	if err := p.openAccessLog(); err != nil {
		return nil, err
	}
	handler, err := p.newHandler()
	if err != nil {
		return nil, err
	}
	if err := p.listen(handler); err != nil {
		return nil, err
	}
	if cfg.HealthCheck != CheckNone {
		// A first round of checks before the first request, so that none
		// meets a backend that is down already.
		checks := p.server.Background("health check", p.backend)
		for _, v := range p.services() {
			_ = v.DependsOn(checks) // Run reports the error
		}
	}
	return p, nil
}

// listen adds the services that accept connections.
func (p *Proxy) listen(handler *proxy.Proxy) error {
	if addrs := p.cfg.Listen; len(addrs) > 0 {
		p.plain = p.server.Listen("proxy", handler, p.listeners(addrs)...)
	}
	if len(p.cfg.HTTPS) == 0 {
		return nil
	}
	certs, err := p.server.Certificates("certificates", cert.Config{Pairs: p.cfg.Certificates, Certificates: p.cfg.selfSigned})
	if err != nil {
		return err
	}
	secure, err := listener.NewTLS(listener.TLSConfig{
		Certificates: certs,
		TLSPolicy:    listener.TLSPolicy{Profile: p.cfg.TLSProfile},
		Logger:       p.server.Logger("listener"),
	}, handler)
	if err != nil {
		return err
	}
	p.secure = p.server.Listen("proxy with TLS", secure, p.listeners(p.cfg.HTTPS)...)
	return nil
}

// listeners returns the configurations of listeners on addrs.
func (p *Proxy) listeners(addrs []string) (list []listener.Config) {
	for _, addr := range addrs {
		list = append(list, listener.Config{Addr: addr, MaxConns: p.cfg.MaxConns})
	}
	return list
}

// services returns those that accept connections.
func (p *Proxy) services() []*server.Service {
	return slices.DeleteFunc([]*server.Service{p.plain, p.secure}, func(v *server.Service) bool { return v == nil })
}

// openAccessLog opens the access log, if there is to be one. A test leaves no
// file behind.
func (p *Proxy) openAccessLog() (err error) {
	name, logger := p.cfg.AccessLog, p.server.Logger("accesslog")
	switch name {
	case "":
		return nil
	case "-":
		if c := p.server.Settings(); (p.cfg.Options.Daemon || c.Daemon) && c.ErrorLog == "" {
			return errors.New("access log: a process in the background has no standard output: name a file")
		}
		p.access = accesslog.New(os.Stdout, logger)
	default:
		_, missing := os.Lstat(name)
		if p.access, err = accesslog.Open(name, logger); err != nil {
			return err
		}
		if p.cfg.Options.Test && errors.Is(missing, fs.ErrNotExist) {
			return os.Remove(name)
		}
	}
	p.server.Background("access log", p.access)
	p.server.OnReopen("access log", p.access.Reopen)
	return nil
}

// adjust puts what cfg says in the place of what the file says.
func (cfg ProxyConfig) adjust(c *config.Config) {
	c.Threads = cmp.Or(cfg.Threads, c.Threads)
	c.GracePeriod = cmp.Or(cfg.GracePeriod, c.GracePeriod)
	c.MaxRetries = cmp.Or(cfg.MaxRetries, c.MaxRetries)
	c.CAFile = cmp.Or(cfg.UpstreamCA, c.CAFile)
	c.AdminListen = cmp.Or(cfg.AdminListen, c.AdminListen)
}

func (p *Proxy) newBalancer() (*balancer.Balancer, error) {
	checker := p.checker()
	return balancer.New(balancer.Config{
		Checker:          checker,
		ReadyAfterChecks: checker != nil,
		Health:           p.cfg.Health,
		OnChange:         p.cfg.OnChange,
		Logger:           p.server.Logger("balancer"),
	}, p.cfg.Backends...)
}

// state is what one request remembers: the backends that it has been sent to.
type state struct {
	tried balancer.Tried
}

// newHandler returns the proxy. A hook that is not needed stays nil, so that
// its phase costs nothing.
func (p *Proxy) newHandler() (*proxy.Proxy, error) {
	hooks := proxy.Hooks[state]{UpstreamPeer: p.upstreamPeer}
	if p.cfg.Host != "" {
		hooks.UpstreamRequestFilter = p.setHost
	}
	if p.cfg.OnRequest != nil {
		hooks.Log = p.log
	}
	if p.access != nil {
		hooks = proxy.Chain(accesslog.Filter[state](p.access), hooks)
	}
	cfg := p.server.ProxyConfig()
	cfg.Downstream.H2C = p.cfg.H2C
	return proxy.New(cfg, hooks)
}

func (p *Proxy) upstreamPeer(_ *proxy.Session, st *state) (*upstream.Peer, error) {
	return p.backend.Next(nil, &st.tried)
}

func (p *Proxy) setHost(_ *proxy.Session, _ *state, head *header.Request) error {
	head.SetHost(p.cfg.Host)
	return nil
}

func (p *Proxy) log(s *proxy.Session, _ *state, err error) { p.cfg.OnRequest(s, err) }

// Run runs the load balancer until a signal or the end of ctx, which drains it
// as SIGTERM does. It may be called once. The error says what could not be
// started or ended.
func (p *Proxy) Run(ctx context.Context) error { return p.server.Run(ctx) }

// Running returns a channel that is closed when connections are accepted.
func (p *Proxy) Running() <-chan struct{} { return p.server.Ready() }

// Addrs returns the addresses that it listens on, those with TLS last, nil
// before they are bound.
func (p *Proxy) Addrs() (addrs []net.Addr) {
	for _, v := range p.services() {
		addrs = append(addrs, v.Addrs()...)
	}
	return addrs
}

// onPhase prints, once, the line that says that the load balancer is ready. It
// runs again after an upgrade that has failed.
func (p *Proxy) onPhase(phase server.Phase) {
	if phase == server.PhaseRunning && p.cfg.Ready != nil && !p.announced {
		p.announced = true
		fmt.Fprintln(p.cfg.Ready, p.summary()) // a reader that has left is no reason to end
	}
}

// summary returns, for example,
// "belay listens on http://127.0.0.1:8080 for 10.0.0.1:8080 and 10.0.0.2:8080 (weight 3); TCP health check".
func (p *Proxy) summary() string {
	var where, what []string
	for _, v := range p.services() {
		for _, a := range v.Addrs() {
			where = append(where, display(a, v == p.secure))
		}
	}
	for _, b := range p.cfg.Backends {
		if b.Weight > 1 {
			what = append(what, fmt.Sprintf("%s (weight %d)", backendName(b), b.Weight))
		} else {
			what = append(what, backendName(b))
		}
	}
	return fmt.Sprintf("belay listens on %s for %s; %s", enumerate(where), enumerate(what), p.cfg.HealthCheck)
}

// display returns an address as one would give it to a client.
func display(a net.Addr, secure bool) string {
	switch {
	case a.Network() == "unix" && secure:
		return "unix:" + a.String() + " (TLS)"
	case a.Network() == "unix":
		return "unix:" + a.String()
	case secure:
		return "https://" + a.String()
	}
	return "http://" + a.String()
}

// enumerate returns "a", "a and b", or "a, b and c".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
