// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/belay-proxy/belay/listener"
)

// A Service is something that a Server starts and ends. It has either a
// handler and listeners, or a background service.
type Service struct {
	server *Server
	name   string
	deps   []*Service // guarded by server.mu until Run has begun

	handler ConnHandler
	configs []listener.Config

	background BackgroundService

	mu        sync.Mutex
	listeners []*listener.Listener // bound; guarded by mu

	canAccept chan struct{} // closed when a service with listeners could start
	ready     chan struct{} // closed when the service is ready
	readyOnce sync.Once
}

// Name returns the name of the service.
func (v *Service) Name() string { return v.name }

// Addrs returns the addresses that the listeners of the service are bound to,
// in the order in which they were given. It returns nil before they are bound.
func (v *Service) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range v.bound() {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// bound returns the listeners that are bound.
func (v *Service) bound() []*listener.Listener {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.listeners)
}

// DependsOn makes v start only when others are ready. It returns an error, and
// changes nothing, if a service would have to wait for itself, if another is
// not of the same server, or if Run has been called. Run reports the error,
// too, so that it can be left to that.
func (v *Service) DependsOn(others ...*Service) error {
	v.server.mu.Lock()
	defer v.server.mu.Unlock()
	if v.server.begun {
		return fmt.Errorf("server: service %q cannot depend on another any more: the server runs", v.name)
	}
	var errs []error
	for _, o := range others {
		if o == nil || o.server != v.server {
			errs = append(errs, fmt.Errorf("server: service %q depends on a service that is not of its server", v.name))
		} else if path := pathTo(o, v); path != nil {
			errs = append(errs, fmt.Errorf("server: services depend on each other in a circle: %s", circle(v, path)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		v.server.errs = append(v.server.errs, err)
		return err
	}
	for _, o := range others {
		if !slices.Contains(v.deps, o) {
			v.deps = append(v.deps, o)
		}
	}
	return nil
}

// pathTo returns the services by which from depends on to, both included, or
// nil if it does not.
func pathTo(from, to *Service) []*Service {
	if from == to {
		return []*Service{to}
	}
	seen := map[*Service]bool{from: true}
	var visit func(*Service) []*Service
	visit = func(v *Service) []*Service {
		for _, d := range v.deps {
			if d == to {
				return []*Service{v, to}
			}
			if seen[d] {
				continue
			}
			seen[d] = true
			if path := visit(d); path != nil {
				return append([]*Service{v}, path...)
			}
		}
		return nil
	}
	return visit(from)
}

// circle returns the names of v and of the path back to it.
func circle(v *Service, path []*Service) string {
	names := []string{v.name}
	for _, p := range path {
		names = append(names, p.name)
	}
	return strings.Join(names, " → ")
}

// startOrder returns services such that each comes after those that it depends
// on, and otherwise in the order in which they were added. DependsOn has made
// sure that there is such an order.
func startOrder(services []*Service) []*Service {
	order := make([]*Service, 0, len(services))
	seen := make(map[*Service]bool, len(services))
	var visit func(*Service)
	visit = func(v *Service) {
		if seen[v] {
			return
		}
		seen[v] = true
		for _, d := range v.deps {
			visit(d)
		}
		order = append(order, v)
	}
	for _, v := range services {
		visit(v)
	}
	return order
}

// setReady tells those that depend on v that it is ready.
func (v *Service) setReady() {
	v.readyOnce.Do(func() { close(v.ready) })
}
