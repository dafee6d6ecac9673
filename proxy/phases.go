// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/upstream"
)

// phases is Hooks with the state type erased, so that the exchange is
// ordinary, non-generic code. A nil entry is an absent phase.
type phases struct {
	newState func() any

	earlyRequestFilter    func(*Session) error
	requestFilter         func(*Session) (responded bool, err error)
	proxyUpstreamFilter   func(*Session) (proceed bool, err error)
	upstreamPeer          func(*Session) (*upstream.Peer, error)
	failToConnect         func(*Session, *upstream.Peer, error) error
	connectedToUpstream   func(*Session, *upstream.Peer) error
	upstreamRequestFilter func(*Session, *header.Request) error
	requestBodyFilter     bodyFilter

	upstreamResponseFilter        func(*Session, *header.Response) error
	responseFilter                func(*Session, *header.Response) error
	upstreamResponseBodyFilter    bodyFilter
	responseBodyFilter            bodyFilter
	upstreamResponseTrailerFilter func(*Session, *header.Fields) error
	responseTrailerFilter         func(*Session, *header.Fields) error

	errorWhileProxy  func(*Session, *upstream.Peer, error) error
	failToProxy      func(*Session, error)
	suppressErrorLog func(*Session, error) bool
	requestSummary   func(*Session) string
	log              func(*Session, error)
}

type bodyFilter func(s *Session, chunk []byte, last bool) ([]byte, error)

// bind erases S.
func bind[S any](h Hooks[S]) *phases {
	state := func(s *Session) *S { return s.x.state.(*S) }
	ph := &phases{newState: func() any { return new(S) }}
	if f := h.EarlyRequestFilter; f != nil {
		ph.earlyRequestFilter = func(s *Session) error { return f(s, state(s)) }
	}
	if f := h.RequestFilter; f != nil {
		ph.requestFilter = func(s *Session) (bool, error) { return f(s, state(s)) }
	}
	if f := h.ProxyUpstreamFilter; f != nil {
		ph.proxyUpstreamFilter = func(s *Session) (bool, error) { return f(s, state(s)) }
	}
	if f := h.UpstreamPeer; f != nil {
		ph.upstreamPeer = func(s *Session) (*upstream.Peer, error) { return f(s, state(s)) }
	}
	if f := h.FailToConnect; f != nil {
		ph.failToConnect = func(s *Session, p *upstream.Peer, err error) error { return f(s, state(s), p, err) }
	}
	if f := h.ConnectedToUpstream; f != nil {
		ph.connectedToUpstream = func(s *Session, p *upstream.Peer) error { return f(s, state(s), p) }
	}
	if f := h.UpstreamRequestFilter; f != nil {
		ph.upstreamRequestFilter = func(s *Session, head *header.Request) error { return f(s, state(s), head) }
	}
	ph.requestBodyFilter = bindBody(h.RequestBodyFilter, state)
	ph.upstreamResponseFilter = bindHead(h.UpstreamResponseFilter, state)
	ph.responseFilter = bindHead(h.ResponseFilter, state)
	ph.upstreamResponseBodyFilter = bindBody(h.UpstreamResponseBodyFilter, state)
	ph.responseBodyFilter = bindBody(h.ResponseBodyFilter, state)
	ph.upstreamResponseTrailerFilter = bindHead(h.UpstreamResponseTrailerFilter, state)
	ph.responseTrailerFilter = bindHead(h.ResponseTrailerFilter, state)
	if f := h.ErrorWhileProxy; f != nil {
		ph.errorWhileProxy = func(s *Session, p *upstream.Peer, err error) error { return f(s, state(s), p, err) }
	}
	if f := h.FailToProxy; f != nil {
		ph.failToProxy = func(s *Session, err error) { f(s, state(s), err) }
	}
	if f := h.SuppressErrorLog; f != nil {
		ph.suppressErrorLog = func(s *Session, err error) bool { return f(s, state(s), err) }
	}
	if f := h.RequestSummary; f != nil {
		ph.requestSummary = func(s *Session) string { return f(s, state(s)) }
	}
	if f := h.Log; f != nil {
		ph.log = func(s *Session, err error) { f(s, state(s), err) }
	}
	return ph
}

func bindBody[S any](f func(*Session, *S, []byte, bool) ([]byte, error), state func(*Session) *S) bodyFilter {
	if f == nil {
		return nil
	}
	return func(s *Session, chunk []byte, last bool) ([]byte, error) { return f(s, state(s), chunk, last) }
}

// bindHead binds the hooks that edit a head or trailers.
func bindHead[S, H any](f func(*Session, *S, *H) error, state func(*Session) *S) func(*Session, *H) error {
	if f == nil {
		return nil
	}
	return func(s *Session, h *H) error { return f(s, state(s), h) }
}
