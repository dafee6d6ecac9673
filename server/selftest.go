// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/belay-proxy/belay/internal/daemon"
	"github.com/belay-proxy/belay/listener"
)

// test checks whether the server could start: the checks of the program, that
// its user is known, and that all listeners can be bound and there can be as
// many connections as they allow. It starts nothing and leaves nothing bound.
// An address that another process listens on is not a problem: that will be
// the server that is to be replaced.
func (s *Server) test(ctx context.Context, services []*Service, err error) error {
	errs := []error{err}
	for _, c := range s.checks {
		if err := c.f(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	if _, err := daemon.LookUp(s.settings.User, s.settings.Group); err != nil {
		errs = append(errs, fmt.Errorf("server: %w", err))
	}
	errs = append(errs, s.checkFiles(services))
	b := binds{s: s}
	for _, v := range services {
		for _, c := range v.configs {
			if err := b.try(ctx, c); err != nil {
				errs = append(errs, fmt.Errorf("service %q: %w", v.name, err))
			}
		}
	}
	b.close()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.cfg.Stdout, "configuration test passed")
	return err
}

// binds are listeners that are bound for a test.
type binds struct {
	s    *Server
	held []*listener.Listener
}

// try binds a listener and holds it, so that another one on the same address
// fails.
func (b *binds) try(ctx context.Context, c listener.Config) error {
	c.BindRetry = 0
	l, err := listener.Listen(ctx, c)
	if errors.Is(err, syscall.EADDRINUSE) {
		b.close()
		if l, err = listener.Listen(ctx, c); err == nil {
			err = fmt.Errorf("listen on %s: another listener of this server has the address", c.Addr)
		} else if errors.Is(err, syscall.EADDRINUSE) {
			b.s.log.Warn("address is in use by another process and was not tested", "addr", c.Addr)
			return nil
		}
	}
	if l != nil {
		b.held = append(b.held, l)
	}
	return err
}

// close closes the listeners that are held.
func (b *binds) close() {
	for _, l := range b.held {
		l.Close()
	}
	b.held = nil
}
