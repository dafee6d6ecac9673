// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// idle is a background service without work.
var idle = RunFunc(func(ctx context.Context) error {
	<-ctx.Done()
	return nil
})

// newServer returns a server for tests.
func newServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = testLogger(t)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// graph adds a service for each word of names, and the dependencies: "ab ac"
// means that a depends on b and c. It returns the first error.
func graph(s *Server, names, deps string) (map[string]*Service, error) {
	services := make(map[string]*Service)
	for name := range strings.SplitSeq(names, "") {
		services[name] = s.Background(name, idle)
	}
	for d := range strings.FieldsSeq(deps) {
		if err := services[d[:1]].DependsOn(services[d[1:]]); err != nil {
			return services, err
		}
	}
	return services, nil
}

func TestStartOrder(t *testing.T) {
	tests := []struct{ name, services, deps, want string }{
		{"single", "a", "", "a"},
		{"independent", "abc", "", "abc"},
		{"chain", "abc", "ab bc", "cba"},
		{"diamond", "abcd", "ab ac bd cd", "dbca"},
		{"twice the same", "ab", "ab ab", "ba"},
		{"complex", "abcdef", "ad bd be cf df ef", "fdaebc"},
	}
	for _, tt := range tests {
		s := newServer(t, Config{})
		if _, err := graph(s, tt.services, tt.deps); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		order, err := s.begin()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var got strings.Builder
		for _, v := range order {
			got.WriteString(v.Name())
		}
		if got.String() != tt.want {
			t.Errorf("%s: order %s, want %s", tt.name, got.String(), tt.want)
		}
	}
}

func TestDependencyErrors(t *testing.T) {
	tests := []struct{ name, services, deps, want string }{
		{"self", "a", "aa", "a → a"},
		{"two", "ab", "ab ba", "b → a → b"},
		{"three", "abc", "ab bc ca", "c → a → b → c"},
		{"three of many", "abcde", "ae ab ec bc bd da", "d → a → b → d"},
	}
	for _, tt := range tests {
		s := newServer(t, Config{})
		_, err := graph(s, tt.services, tt.deps)
		if err == nil || !strings.HasSuffix(err.Error(), "circle: "+tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if runErr := s.Run(t.Context()); fmt.Sprint(runErr) != fmt.Sprint(err) {
			t.Errorf("%s: Run = %v, want %v", tt.name, runErr, err)
		}
	}

	s := newServer(t, Config{})
	a := s.Background("a", idle)
	for _, other := range []*Service{nil, newServer(t, Config{}).Background("b", idle)} {
		if err := a.DependsOn(other); err == nil {
			t.Errorf("%v was accepted as a dependency", other)
		}
	}
}

func TestServiceErrors(t *testing.T) {
	tests := []struct {
		name string
		add  func(s *Server)
		want string
	}{
		{"none", func(*Server) {}, "there are no services"},
		{"no name", func(s *Server) { s.Background("", idle) }, "has no name"},
		{"same name", func(s *Server) { s.Background("a", idle); s.Background("a", idle) }, `two services are named "a"`},
		{"nil", func(s *Server) { s.Background("a", nil) }, `background service "a" is nil`},
		{"no handler", func(s *Server) { s.Listen("a", nil, local) }, `service "a" has no handler`},
		{"no listener", func(s *Server) { s.Listen("a", newEcho()) }, `service "a" has no listeners`},
	}
	for _, tt := range tests {
		s := newServer(t, Config{})
		tt.add(s)
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Run = %v, want %s", tt.name, err, tt.want)
		}
	}
}
