// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/upstream"
)

// tagged returns hooks that note each phase with a tag, and add the tag to what
// they pass on.
func tagged(j *journal, tag string) hooks {
	note := func(name string) { j.add(tag + " " + name) }
	head := func(name string) func(*proxy.Session, *none, *header.Response) error {
		return func(_ *proxy.Session, _ *none, h *header.Response) error {
			note(name)
			h.Fields.Add("Seen", tag)
			return nil
		}
	}
	body := func(name string) func(*proxy.Session, *none, []byte, bool) ([]byte, error) {
		return func(_ *proxy.Session, _ *none, c []byte, last bool) ([]byte, error) {
			if !last {
				return c, nil
			}
			note(name)
			return append(slices.Clone(c), tag...), nil
		}
	}
	trailers := func(name string) func(*proxy.Session, *none, *header.Fields) error {
		return func(*proxy.Session, *none, *header.Fields) error { note(name); return nil }
	}
	fail := func(name string) func(*proxy.Session, *none, *upstream.Peer, error) error {
		return func(_ *proxy.Session, _ *none, _ *upstream.Peer, err error) error {
			note(name)
			return fmt.Errorf("%s %w", tag, err)
		}
	}
	return hooks{
		EarlyRequestFilter:  func(*proxy.Session, *none) error { note("EarlyRequestFilter"); return nil },
		RequestFilter:       func(*proxy.Session, *none) (bool, error) { note("RequestFilter"); return false, nil },
		ProxyUpstreamFilter: func(*proxy.Session, *none) (bool, error) { note("ProxyUpstreamFilter"); return true, nil },
		UpstreamPeer:        func(*proxy.Session, *none) (*upstream.Peer, error) { note("UpstreamPeer"); return nil, nil },
		FailToConnect:       fail("FailToConnect"),
		ConnectedToUpstream: func(*proxy.Session, *none, *upstream.Peer) error { note("ConnectedToUpstream"); return nil },
		UpstreamRequestFilter: func(*proxy.Session, *none, *header.Request) error {
			note("UpstreamRequestFilter")
			return nil
		},
		RequestBodyFilter:             body("RequestBodyFilter"),
		UpstreamResponseFilter:        head("UpstreamResponseFilter"),
		ResponseFilter:                head("ResponseFilter"),
		UpstreamResponseBodyFilter:    body("UpstreamResponseBodyFilter"),
		ResponseBodyFilter:            body("ResponseBodyFilter"),
		UpstreamResponseTrailerFilter: trailers("UpstreamResponseTrailerFilter"),
		ResponseTrailerFilter:         trailers("ResponseTrailerFilter"),
		ErrorWhileProxy:               fail("ErrorWhileProxy"),
		FailToProxy:                   func(*proxy.Session, *none, error) { note("FailToProxy") },
		SuppressErrorLog:              func(*proxy.Session, *none, error) bool { note("SuppressErrorLog"); return false },
		RequestSummary:                func(*proxy.Session, *none) string { note("RequestSummary"); return tag },
		Log:                           func(*proxy.Session, *none, error) { note("Log") },
	}
}

// On the way up the sets run in order, on the way down in the opposite one.
func TestChainOrder(t *testing.T) {
	proxytest.CheckLeaks(t)
	up := func(names ...string) (list []string) {
		for _, n := range names {
			list = append(list, "a "+n, "b "+n)
		}
		return list
	}
	down := func(names ...string) (list []string) {
		for _, n := range names {
			list = append(list, "b "+n, "a "+n)
		}
		return list
	}
	request := up("EarlyRequestFilter", "RequestFilter", "ProxyUpstreamFilter", "UpstreamPeer")
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		check := func(t *testing.T, opts []proxytest.OriginOption, status int, want ...[]string) (*proxytest.Response, outcome, *proxytest.Origin) {
			t.Helper()
			var j journal
			origin := proxytest.NewOrigin(t, append(opts, proxytest.Speak(m.Upstream))...)
			r := newRig(t, m, proxy.Config{Logger: slogTo(&logRecords{}), MaxRetries: 1}, proxy.Chain(hooks{}, tagged(&j, "a"), hooks{}, tagged(&j, "b"), to(origin)))
			res, out := r.Post("/", "x"), r.outcome()
			if res.Status != status {
				t.Errorf("got %v, want %d", res, status)
			}
			if got, want := j.take(), slices.Concat(want...); !slices.Equal(got, want) {
				t.Errorf("hooks ran:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			return res, out, origin
		}
		t.Run("success", func(t *testing.T) {
			res, _, origin := check(t, []proxytest.OriginOption{proxytest.Body("x"), proxytest.Trailer("Sum", "1")}, 200, request,
				up("ConnectedToUpstream", "UpstreamRequestFilter", "RequestBodyFilter"),
				down("UpstreamResponseFilter", "ResponseFilter", "UpstreamResponseBodyFilter", "ResponseBodyFilter",
					"UpstreamResponseTrailerFilter", "ResponseTrailerFilter"), up("Log"))
			if got := res.Text(); got != "xbaba" {
				t.Errorf("response body = %q, want xbaba", got)
			}
			if got := origin.WaitRequests(1)[0].Text(); got != "xab" {
				t.Errorf("request body = %q, want xab", got)
			}
		})
		t.Run("no connection", func(t *testing.T) {
			_, out, _ := check(t, []proxytest.OriginOption{proxytest.Refuse()}, 502, request, up("FailToConnect"),
				up("UpstreamPeer", "FailToConnect", "FailToProxy", "SuppressErrorLog"), []string{"b RequestSummary"}, up("Log"))
			if got := out.err.Error(); !strings.HasPrefix(got, "b a upstream") {
				t.Errorf("error %q, want it to have passed a, then b", got)
			}
		})
		t.Run("no answer", func(t *testing.T) {
			check(t, []proxytest.OriginOption{proxytest.ResetBeforeHead()}, 502, request,
				up("ConnectedToUpstream", "UpstreamRequestFilter", "RequestBodyFilter", "ErrorWhileProxy", "FailToProxy", "SuppressErrorLog"),
				[]string{"b RequestSummary"}, up("Log"))
		})
	})
}

// Where a set has decided, those behind it are not asked.
func TestChainStops(t *testing.T) {
	proxytest.CheckLeaks(t)
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		origin := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.Body("x")))
		never := tagged(&journal{}, "")
		bad := func(name string) { t.Errorf("%s of the set behind ran", name) }
		tests := []struct {
			name   string
			a, b   hooks
			status int
		}{
			{"EarlyRequestFilter", hooks{EarlyRequestFilter: func(*proxy.Session, *none) error { return errors.New("a") }},
				hooks{EarlyRequestFilter: func(*proxy.Session, *none) error { bad("EarlyRequestFilter"); return nil }}, 500},
			{"RequestFilter", hooks{RequestFilter: func(s *proxy.Session, _ *none) (bool, error) { return true, s.Respond(201, "") }},
				hooks{RequestFilter: func(*proxy.Session, *none) (bool, error) { bad("RequestFilter"); return false, nil }}, 201},
			{"ProxyUpstreamFilter", hooks{ProxyUpstreamFilter: func(s *proxy.Session, _ *none) (bool, error) { return false, s.Respond(202, "") }},
				hooks{ProxyUpstreamFilter: func(*proxy.Session, *none) (bool, error) { bad("ProxyUpstreamFilter"); return true, nil }}, 202},
			{"UpstreamPeer", origin, hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { bad("UpstreamPeer"); return nil, nil }}, 200},
			{"UpstreamPeer fails", hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, errors.New("a") }},
				hooks{UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { bad("UpstreamPeer"); return nil, nil }}, 500},
			{"UpstreamRequestFilter", hooks{UpstreamRequestFilter: func(*proxy.Session, *none, *header.Request) error { return errors.New("a") }},
				hooks{UpstreamRequestFilter: func(*proxy.Session, *none, *header.Request) error { bad("UpstreamRequestFilter"); return nil }}, 500},
			{"ResponseFilter", hooks{ResponseFilter: func(*proxy.Session, *none, *header.Response) error { bad("ResponseFilter"); return nil }},
				hooks{ResponseFilter: func(*proxy.Session, *none, *header.Response) error { return errors.New("b") }}, 500},
			{"FailToProxy", hooks{EarlyRequestFilter: func(*proxy.Session, *none) error { return errors.New("a") },
				FailToProxy: func(s *proxy.Session, _ *none, _ error) { must(t, s.Respond(203, "")) }},
				hooks{FailToProxy: func(*proxy.Session, *none, error) { bad("FailToProxy") }}, 203},
			{"held back body", hooks{ResponseBodyFilter: func(_ *proxy.Session, _ *none, c []byte, last bool) ([]byte, error) {
				if len(c) == 0 && !last {
					bad("ResponseBodyFilter")
				}
				return c, nil
			}}, hooks{ResponseBodyFilter: func(_ *proxy.Session, _ *none, _ []byte, last bool) ([]byte, error) { return nil, nil }}, 200},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				logs := 0
				// The first set's Log panics; the others' run all the same.
				r := newRig(t, m, proxy.Config{}, proxy.Chain(hooks{Log: func(*proxy.Session, *none, error) { logs++; panic("in Log") }},
					tt.a, tt.b, hooks{Log: func(*proxy.Session, *none, error) { logs++ }}, origin))
				if res := r.Get("/"); res.Status != tt.status {
					t.Errorf("got %v, want %d", res, tt.status)
				}
				r.outcome()
				if logs != 2 {
					t.Errorf("%d of 2 Log hooks ran", logs)
				}
			})
		}
		if h := proxy.Chain[none](); h.UpstreamPeer != nil || h.Log != nil {
			t.Error("a chain of nothing has hooks")
		}
		if h := proxy.Chain(never); h.Log == nil || h.RequestSummary == nil {
			t.Error("a chain of one has lost hooks")
		}
	})
}
