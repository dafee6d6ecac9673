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
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belay-proxy/belay/balancer"
	"github.com/belay-proxy/belay/cert"
	"github.com/belay-proxy/belay/health"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
)

// DemoConfig says how the demo runs. Out is required.
type DemoConfig struct {
	// Addr is where the load balancer listens. Empty means DefaultListen, or
	// if that port is taken, the next that is free. It also listens on the
	// same host with TLS, on 8443 or the next free port, with a certificate
	// that it makes.
	Addr string

	// Duration ends the demo. Zero and negative mean that only ctx or a key
	// does.
	Duration time.Duration

	// Out receives what the demo shows. Live says that it is a terminal.
	Out  io.Writer
	Live bool

	// Keys are what the user presses: 1, 2 and 3 take an origin down or bring
	// it back, q ends. Nil means that there is nobody to press them.
	Keys <-chan byte
}

// Times of the outage that the demo makes by itself. If Duration leaves less
// time than that, its first and second third.
const (
	outageBegins = 5 * time.Second
	outageEnds   = 10 * time.Second
	demoInterval = 500 * time.Millisecond // of the health check
)

// demo is a demo that runs.
type demo struct {
	cfg     DemoConfig
	screen  *screen
	origins []*demoOrigin
	client  *demoClient
	lb      *Proxy

	foreign     atomic.Int64 // requests that are not the demo's own
	foreignLost atomic.Int64
	saved       atomic.Int64 // requests that needed more than one attempt
}

// Demo runs the load balancer with three origins and a client of its own in
// this process, and shows what happens when an origin fails and comes back. It
// ends after Duration, by a key, or with ctx. The error says why it could
// not run, or that requests were lost.
func Demo(ctx context.Context, cfg DemoConfig) error {
	d := &demo{cfg: cfg, screen: newScreen(cfg.Out, cfg.Live)}
	defer d.stopOrigins()
	for i := range 3 {
		o, err := startOrigin(fmt.Sprintf("origin-%d", i+1))
		if err != nil {
			return err
		}
		d.origins = append(d.origins, o)
	}
	if err := d.newProxy(ctx); err != nil {
		return err
	}
	// The load balancer outlives the client, so that the end loses nothing.
	lbCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.lb.Run(lbCtx) }() // until stop
	select {
	case <-d.lb.Running():
	case err := <-ended:
		return err
	}
	d.client = newDemoClient(d.lb.Addrs()[0].String(), func(why string) { d.screen.request("✗ a request was lost: %s", why) })
	d.introduce()
	d.play(ctx, ended)
	stop()
	err := <-ended
	return errors.Join(d.summarize(), err)
}

func (d *demo) stopOrigins() {
	for _, o := range d.origins {
		o.stop()
	}
}

func (d *demo) newProxy(ctx context.Context) error {
	addr := cmp.Or(d.cfg.Addr, freeListen(DefaultListen))
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	certificate, err := cert.SelfSigned("localhost", "127.0.0.1", "::1")
	if err != nil {
		return err
	}
	secure := net.JoinHostPort(host, "0")
	if port != "0" {
		secure = freeListen(net.JoinHostPort(host, demoHTTPSPort))
	}
	cfg := ProxyConfig{
		Listen:    []string{addr},
		HTTPS:     []string{secure},
		Health:    health.Config{Interval: demoInterval},
		OnChange:  d.onChange,
		OnRequest: d.onRequest,
		Logger:    slog.New(slog.DiscardHandler), // the screen shows it all
		Signals:   make(chan os.Signal),          // ctx has them

		selfSigned: []tls.Certificate{certificate},
	}
	for _, o := range d.origins {
		cfg.Backends = append(cfg.Backends, balancer.Backend{Addr: o.addr})
	}
	d.lb, err = NewProxy(ctx, cfg)
	return err
}

// demoHTTPSPort is where the demo listens with TLS, if it is free.
const demoHTTPSPort = "8443"

// freeListen returns addr or, if somebody listens there, the same host with the
// next free port, or with port 0 in the end.
func freeListen(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	first, _ := strconv.Atoi(port)
	for n := first; n < first+20; n++ {
		addr := net.JoinHostPort(host, strconv.Itoa(n))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	return net.JoinHostPort(host, "0")
}

// introduce says what there is, and sends the first requests one by one.
func (d *demo) introduce() {
	addr, secure := d.lb.Addrs()[0], d.lb.Addrs()[1]
	d.screen.text("belay demo: a load balancer and three origins, all in this process\n\n")
	d.screen.text("  %-22s belay: round robin, health check every %v, fail-over\n", display(addr, false), demoInterval)
	d.screen.text("  %-22s the same with TLS and HTTP/2, and a certificate of its own\n", display(secure, true))
	for i, o := range d.origins {
		d.screen.text("    %s %-18s %s\n", [...]string{"├", "├", "└"}[i], o.addr, o.name)
	}
	d.screen.text("\nSix requests, one after the other:\n\n")
	for range 6 {
		if name := d.client.get(); name != "" {
			d.screen.text("  GET %s/ → 200, answered by %s\n", display(addr, false), name)
		}
	}
	d.screen.text("\nTry it in another terminal; the answer shows what the origin received:\n\n")
	d.screen.text("  curl -i %s/hello\n  curl -i %s/form -d name=value\n", display(addr, false), display(addr, false))
	d.screen.text("  curl -ik --http2 %s/hello\n  curl -ik --http1.1 %s/hello\n\n", display(secure, true), display(secure, true))
	if d.cfg.Keys != nil {
		d.screen.text("Keys: 1, 2, 3 take an origin down or bring it back; q ends.\n")
	}
	down, up := d.outage()
	d.screen.text("From now on %d requests per second.\nAfter %v %s is killed, after %v it is started again.\n\n",
		demoRate, down.Round(100*time.Millisecond), d.origins[1].name, up.Round(100*time.Millisecond))
}

// play runs the client and the outage until the end. ended is why the load
// balancer has ended, should it do so by itself.
func (d *demo) play(ctx context.Context, ended chan error) {
	ctx, cancel := context.WithCancel(ctx)
	if d.cfg.Duration > 0 {
		defer time.AfterFunc(d.cfg.Duration, cancel).Stop()
	}
	var load sync.WaitGroup
	load.Go(func() { d.client.run(ctx) })
	defer func() { cancel(); load.Wait(); d.screen.end() }()

	killAfter, startAfter := d.outage()
	down, up := time.After(killAfter), time.After(startAfter)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := d.counts()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-ended:
			ended <- err
			return
		case <-down:
			d.toggle(1)
		case <-up:
			d.toggle(1)
		case key := <-d.cfg.Keys:
			if key == 'q' {
				return
			}
			if key == '2' {
				down, up = nil, nil // the user has taken over
			}
			if key >= '1' && key <= '3' {
				d.toggle(int(key - '1'))
			}
		case <-tick.C:
			now := d.counts()
			d.screen.setStatus(d.row(before, now))
			before = now
		}
	}
}

// outage returns after what time the demo takes an origin down, and after what
// time it brings it back.
func (d *demo) outage() (down, up time.Duration) {
	if total := d.cfg.Duration; total > 0 && total < outageBegins+outageEnds {
		return total / 3, total * 2 / 3
	}
	return outageBegins, outageEnds
}

// toggle takes an origin down or brings it back.
func (d *demo) toggle(i int) {
	o := d.origins[i]
	if o.up() {
		o.stop()
		d.screen.event("✗ %s is killed: its port is closed and its connections are cut", o.name)
		return
	}
	if err := o.start(); err != nil {
		d.screen.event("✗ %v", err)
		return
	}
	d.screen.event("✓ %s is started again", o.name)
}

// onChange is told by the balancer.
func (d *demo) onChange(b balancer.Backend, healthy bool) {
	if healthy {
		d.screen.event("  health check: %s is back in the rotation", d.nameOf(b.Addr))
	} else {
		d.screen.event("  health check: %s is out of the rotation", d.nameOf(b.Addr))
	}
}

// onRequest is the Log hook of the load balancer.
func (d *demo) onRequest(s *proxy.Session, err error) {
	req := s.Request()
	own := req.Fields.Get("User-Agent") == demoAgent
	failed := err != nil && !fromClient(err)
	if !own {
		d.foreign.Add(1)
		if failed {
			d.foreignLost.Add(1)
		}
	}
	digest := s.Digest()
	if tried := s.Tried(); len(tried) > 0 && !failed && digest.Peer != nil {
		d.saved.Add(1)
		d.screen.request("  %s %s failed at %s and was sent to %s: not lost", req.Method, req.Target, d.nameOf(tried[0].Addr), d.nameOf(digest.Peer.Addr))
	} else if !own && digest.Peer != nil {
		d.screen.request("  %s %s → %d from %s in %.1f ms", req.Method, req.Target, digest.Status, d.nameOf(digest.Peer.Addr), digest.Total.Seconds()*1000)
	} else if !own {
		d.screen.request("  %s %s → %d", req.Method, req.Target, digest.Status)
	}
}

// fromClient reports whether err is the client's own doing.
func fromClient(err error) bool {
	e, ok := errors.AsType[*proxyerr.Error](err)
	return ok && e.Source == proxyerr.Downstream
}

func (d *demo) nameOf(addr string) string {
	if i := slices.IndexFunc(d.origins, func(o *demoOrigin) bool { return o.addr == addr }); i >= 0 {
		return d.origins[i].name
	}
	return addr
}

// counts returns the requests that each origin has had.
func (d *demo) counts() []int64 {
	var n []int64
	for _, o := range d.origins {
		n = append(n, o.requests.Load())
	}
	return n
}

// row is the status: what came to each origin in the last second.
func (d *demo) row(before, now []int64) string {
	var b strings.Builder
	for i, o := range d.origins {
		if o.up() {
			fmt.Fprintf(&b, "%s %2d/s  ", o.name, now[i]-before[i])
		} else {
			fmt.Fprintf(&b, "%s down  ", o.name)
		}
	}
	fmt.Fprintf(&b, "sent %d, lost %d", d.total(), d.lost())
	return b.String()
}

func (d *demo) total() int64 { return d.client.sent.Load() + d.foreign.Load() }

func (d *demo) lost() int64 { return d.client.lost.Load() + d.foreignLost.Load() }

// summarize says what has happened. It returns an error if a request was lost.
func (d *demo) summarize() error {
	total, lost := d.total(), d.lost()
	d.screen.text("\n%d requests, %d lost; %d met an origin that had gone and were answered by another\n", total, lost, d.saved.Load())
	for i, n := range d.counts() {
		d.screen.text("  %s  %d\n", d.origins[i].name, n)
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d requests were lost", lost, total)
	}
	return nil
}
