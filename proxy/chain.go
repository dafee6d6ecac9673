// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/belay-proxy/belay/upstream"
)

// Chain composes sets of hooks into one: ready-made filters first, the
// program's own last.
//
// On the way up (the request phases) the hooks of a phase run in the order
// given; on the way down (the response phases) in the opposite order, so that
// each set of hooks wraps the ones behind it. An error ends the phase.
//
//   - RequestFilter stops at the first that has responded, ProxyUpstreamFilter
//     at the first that says no.
//   - UpstreamPeer asks each until one returns a peer or an error.
//   - FailToConnect and ErrorWhileProxy pass the error from one to the next.
//   - SuppressErrorLog suppresses if any of them does; RequestSummary is the
//     last one's.
//   - FailToProxy runs until one has responded; Log runs for all.
func Chain[S any](sets ...Hooks[S]) Hooks[S] {
	var all Hooks[S]
	for _, h := range sets {
		all = join(all, h)
	}
	return all
}

// join puts b behind a. A phase that only one of them has costs nothing more.
func join[S any](a, b Hooks[S]) Hooks[S] {
	return Hooks[S]{
		EarlyRequestFilter: both(a.EarlyRequestFilter, b.EarlyRequestFilter, a.EarlyRequestFilter == nil, b.EarlyRequestFilter == nil, func(s *Session, st *S) error {
			if err := a.EarlyRequestFilter(s, st); err != nil {
				return err
			}
			return b.EarlyRequestFilter(s, st)
		}),
		RequestFilter: both(a.RequestFilter, b.RequestFilter, a.RequestFilter == nil, b.RequestFilter == nil, func(s *Session, st *S) (bool, error) {
			if done, err := a.RequestFilter(s, st); done || err != nil {
				return done, err
			}
			return b.RequestFilter(s, st)
		}),
		ProxyUpstreamFilter: both(a.ProxyUpstreamFilter, b.ProxyUpstreamFilter, a.ProxyUpstreamFilter == nil, b.ProxyUpstreamFilter == nil, func(s *Session, st *S) (bool, error) {
			if proceed, err := a.ProxyUpstreamFilter(s, st); !proceed || err != nil {
				return proceed, err
			}
			return b.ProxyUpstreamFilter(s, st)
		}),
		UpstreamPeer: both(a.UpstreamPeer, b.UpstreamPeer, a.UpstreamPeer == nil, b.UpstreamPeer == nil, func(s *Session, st *S) (*upstream.Peer, error) {
			if p, err := a.UpstreamPeer(s, st); p != nil || err != nil {
				return p, err
			}
			return b.UpstreamPeer(s, st)
		}),
		FailToConnect:                 joinErr(a.FailToConnect, b.FailToConnect),
		ConnectedToUpstream:           joinHead(a.ConnectedToUpstream, b.ConnectedToUpstream),
		UpstreamRequestFilter:         joinHead(a.UpstreamRequestFilter, b.UpstreamRequestFilter),
		RequestBodyFilter:             joinBody(a.RequestBodyFilter, b.RequestBodyFilter),
		UpstreamResponseFilter:        joinHead(b.UpstreamResponseFilter, a.UpstreamResponseFilter),
		ResponseFilter:                joinHead(b.ResponseFilter, a.ResponseFilter),
		UpstreamResponseBodyFilter:    joinBody(b.UpstreamResponseBodyFilter, a.UpstreamResponseBodyFilter),
		ResponseBodyFilter:            joinBody(b.ResponseBodyFilter, a.ResponseBodyFilter),
		UpstreamResponseTrailerFilter: joinHead(b.UpstreamResponseTrailerFilter, a.UpstreamResponseTrailerFilter),
		ResponseTrailerFilter:         joinHead(b.ResponseTrailerFilter, a.ResponseTrailerFilter),
		ErrorWhileProxy:               joinErr(a.ErrorWhileProxy, b.ErrorWhileProxy),
		FailToProxy: both(a.FailToProxy, b.FailToProxy, a.FailToProxy == nil, b.FailToProxy == nil, func(s *Session, st *S, err error) {
			if a.FailToProxy(s, st, err); !s.Responded() {
				b.FailToProxy(s, st, err)
			}
		}),
		SuppressErrorLog: both(a.SuppressErrorLog, b.SuppressErrorLog, a.SuppressErrorLog == nil, b.SuppressErrorLog == nil, func(s *Session, st *S, err error) bool {
			return a.SuppressErrorLog(s, st, err) || b.SuppressErrorLog(s, st, err)
		}),
		RequestSummary: both(a.RequestSummary, b.RequestSummary, a.RequestSummary == nil, b.RequestSummary == nil, b.RequestSummary),
		Log: both(a.Log, b.Log, a.Log == nil, b.Log == nil, func(s *Session, st *S, err error) {
			defer b.Log(s, st, err) // also if a panics
			a.Log(s, st, err)
		}),
	}
}

// both returns joined if there are both a and b, and otherwise the one there
// is.
func both[F any](a, b F, noA, noB bool, joined F) F {
	switch {
	case noA:
		return b
	case noB:
		return a
	}
	return joined
}

func joinHead[S, H any](a, b func(*Session, *S, *H) error) func(*Session, *S, *H) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(s *Session, st *S, h *H) error {
		if err := a(s, st, h); err != nil {
			return err
		}
		return b(s, st, h)
	}
}

func joinBody[S any](a, b func(*Session, *S, []byte, bool) ([]byte, error)) func(*Session, *S, []byte, bool) ([]byte, error) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(s *Session, st *S, chunk []byte, last bool) ([]byte, error) {
		chunk, err := a(s, st, chunk, last)
		if err != nil || len(chunk) == 0 && !last {
			return nil, err
		}
		return b(s, st, chunk, last)
	}
}

func joinErr[S any](a, b func(*Session, *S, *upstream.Peer, error) error) func(*Session, *S, *upstream.Peer, error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(s *Session, st *S, p *upstream.Peer, err error) error { return b(s, st, p, a(s, st, p, err)) }
}
