// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/upstream"
)

// Hooks are the points at which a program can act on a request, in the order
// the proxy reaches them. UpstreamPeer is required. Any other field may be
// nil: the proxy then skips the phase, and all work that only it would need.
//
// Every hook runs on the request's own goroutine and may wait; Session.Context
// ends when the client goes away. The one exception is RequestBodyFilter,
// which for a body that is still arriving runs on a goroutine of its own, so
// that request and response can flow at the same time; see there.
//
// S is the program's per-request state. Each request starts with a zero S and
// every hook of that request receives the same *S. Nothing may keep st, s, a
// head or a chunk after Log has returned; strings may be kept.
//
// An error from a hook ends the request: FailToProxy chooses the response,
// then Log runs. A hook that wants a certain status returns
// proxyerr.WithStatus(403, "no token"). A hook that panics fails its own
// request with 500 and no other.
type Hooks[S any] struct {
	// EarlyRequestFilter runs as soon as the request head has been read,
	// before every other hook of the chain.
	EarlyRequestFilter func(s *Session, st *S) error

	// RequestFilter decides whether the request may pass. It returns
	// responded=true if it has answered the client itself; the proxy then
	// goes straight to Log.
	RequestFilter func(s *Session, st *S) (responded bool, err error)

	// ProxyUpstreamFilter runs when the request is about to go upstream,
	// once per request. It returns false to keep it from doing so: then it
	// has answered the client, or the client gets 502.
	ProxyUpstreamFilter func(s *Session, st *S) (proceed bool, err error)

	// UpstreamPeer chooses where this attempt goes. It runs again for each
	// retry; s.Attempt() counts from 1. Its error is not retried.
	UpstreamPeer func(s *Session, st *S) (*upstream.Peer, error)

	// FailToConnect runs when no connection to the peer could be made. It
	// returns the error to go on with: err, or another. A *proxyerr.Error
	// says in Retry whether the next attempt may be made; connect failures
	// arrive with RetryAlways.
	FailToConnect func(s *Session, st *S, peer *upstream.Peer, err error) error

	// ConnectedToUpstream runs when a connection is ready, before anything
	// is sent on it. s.Digest() says whether it was reused.
	ConnectedToUpstream func(s *Session, st *S, peer *upstream.Peer) error

	// UpstreamRequestFilter edits the head that is about to be sent to the
	// peer, once per attempt. Hop-by-hop fields are already gone and
	// forwarding fields already set. The client's own head, s.Request(),
	// stays as it was received. "TE: trailers" may be added, for a client
	// that does not say so itself.
	UpstreamRequestFilter func(s *Session, st *S, head *header.Request) error

	// RequestBodyFilter maps each chunk of request body. It may return chunk
	// itself, part of it, or a slice of its own, and must not change the
	// bytes of chunk; chunk is valid until it returns. last marks the end of
	// the body; chunk may be empty then. With this hook the request is sent
	// with unknown length, unless UpstreamRequestFilter has set head.Length.
	// A body that is replayed by a retry passes again. It does not run for a
	// request without a body.
	//
	// While the body is still arriving it runs concurrently with the hooks
	// of the response, so what they share in S needs a lock.
	RequestBodyFilter func(s *Session, st *S, chunk []byte, last bool) ([]byte, error)

	// UpstreamResponseFilter edits a response head as the peer sent it: what
	// a cache would store. It also runs for informational (1xx) heads.
	UpstreamResponseFilter func(s *Session, st *S, head *header.Response) error

	// ResponseFilter edits the response head on its way to the client. It
	// also runs for informational (1xx) heads, but not for errors that the
	// proxy itself answers.
	ResponseFilter func(s *Session, st *S, head *header.Response) error

	// UpstreamResponseBodyFilter maps each chunk of response body as the
	// peer sent it, under the rules of ResponseBodyFilter.
	UpstreamResponseBodyFilter func(s *Session, st *S, chunk []byte, last bool) ([]byte, error)

	// ResponseBodyFilter maps each chunk of response body. It may return
	// chunk, part of it, or a slice of its own; chunk is valid until it
	// returns. last marks the end of the body; chunk may be empty then. With
	// this hook the response is sent without Content-Length, unless
	// ResponseFilter has set head.Length. To slow the response down, sleep.
	ResponseBodyFilter func(s *Session, st *S, chunk []byte, last bool) ([]byte, error)

	// UpstreamResponseTrailerFilter edits the trailers as the peer sent
	// them. It runs only if there are any.
	UpstreamResponseTrailerFilter func(s *Session, st *S, trailers *header.Fields) error

	// ResponseTrailerFilter edits the trailers on their way to the client.
	// It runs only if there are any, when the whole body has been passed on.
	// It may add to the body with s.WriteBody, past the body filters, if the
	// response has no Content-Length.
	ResponseTrailerFilter func(s *Session, st *S, trailers *header.Fields) error

	// ErrorWhileProxy runs when an attempt fails after it was connected. It
	// returns the error to go on with, as FailToConnect does. Retry is only
	// obeyed while nothing has been sent to the client.
	ErrorWhileProxy func(s *Session, st *S, peer *upstream.Peer, err error) error

	// FailToProxy runs when the request has finally failed. It may answer
	// with s.Respond; if it does not, and nothing has been sent yet,
	// Config.Responder answers.
	FailToProxy func(s *Session, st *S, err error)

	// SuppressErrorLog returns true to keep a failed request out of the
	// error log.
	SuppressErrorLog func(s *Session, st *S, err error) bool

	// RequestSummary returns the text that stands for the request in the
	// error log. The default is method, target and host.
	RequestSummary func(s *Session, st *S) string

	// Log runs exactly once per request, after the last byte or the failure.
	// err is nil if the request succeeded.
	Log func(s *Session, st *S, err error)
}
