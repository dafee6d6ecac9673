// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"log/slog"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxyerr"
)

// errConnectRefused is the answer to CONNECT where it is not allowed.
var errConnectRefused = &proxyerr.Error{Source: proxyerr.Downstream, Op: "CONNECT", Kind: proxyerr.Unsupported, Status: 405}

// errConnectProtocol is the answer to an extended CONNECT for a protocol that is
// never passed on (RFC 8441 section 4, RFC 9220 section 3).
var errConnectProtocol = &proxyerr.Error{Source: proxyerr.Downstream, Op: "CONNECT", Kind: proxyerr.Unsupported, Status: 501}

// errConnectContent is the answer to a CONNECT with content, which has no
// meaning (RFC 9110 section 9.3.6) and no place in front of a tunnel.
var errConnectContent = proxyerr.New(proxyerr.Downstream, proxyerr.BadMessage, "CONNECT", errors.New("request with content"))

// allowedMethods is the Allow field of the proxy's own answers.
const allowedMethods = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"

// StatusOf returns the status code with which a request that failed with err
// is answered, or 0 if there is nobody left to answer.
func StatusOf(err error) int {
	e, ok := errors.AsType[*proxyerr.Error](err)
	switch {
	case !ok:
		return 500
	case e.Status != 0:
		return e.Status
	case e.Kind == proxyerr.NoBackend, e.Kind == proxyerr.BindFailed, e.Kind == proxyerr.SocketFailed:
		return 503
	case e.Source == proxyerr.Upstream && e.Timeout():
		return 504
	case e.Source == proxyerr.Upstream:
		return 502
	case e.Source == proxyerr.Internal:
		return 500
	}
	switch e.Kind {
	case proxyerr.BadMessage:
		return 400
	case proxyerr.ReadTimeout:
		return 408
	case proxyerr.TooLarge:
		return 413
	}
	return 0
}

// DefaultResponder answers with the status and its phrase as text.
func DefaultResponder(s *Session, status int, _ error) error {
	fields := []string{"Cache-Control", "no-store"}
	if status == 405 {
		fields = append(fields, "Allow", allowedMethods)
	}
	return s.Respond(status, header.ErrorText(status), fields...)
}

// fail answers a request that has finally failed. If its response has been
// started there is nothing to answer: the stream sees that it was not finished
// and makes sure that the client sees it as cut.
func (x *exchange) fail(err error) {
	s := &x.session
	begun := x.down.HeadSent()
	if f := x.phases.failToProxy; f != nil {
		if perr := x.guard(func() error { f(s, err); return nil }); perr != nil && !s.Responded() {
			err = perr
		}
	}
	if begun == x.down.HeadSent() && x.passCancel(err) {
		// The stream has ended as that of the peer has.
	} else if status := StatusOf(err); !s.Responded() && status != 0 {
		if rerr := x.guard(func() error { return x.proxy.cfg.Responder(s, status, err) }); rerr != nil {
			x.down.Abort()
		}
	}
	x.guard(func() error { x.logError(err); return nil })
}

// passCancel hands the peer's cancellation of a stream on to the client of a
// gRPC call, or of any response that has begun, and reports whether it has. A
// gRPC server cancels a call when its deadline passes. That is the client's
// deadline, too: told of it in this way the client reports it as such, and not
// as the failure of a proxy.
func (x *exchange) passCancel(err error) bool {
	down, ok := x.down.(*http2.ServerStream)
	if !ok {
		return false
	}
	reset, ok := errors.AsType[*http2.ResetError](err)
	if !ok || reset.Code != http2.Cancel || reset.Local || reset.GoAway {
		return false
	}
	if !x.down.HeadSent() && !x.down.Request().GRPC() {
		return false
	}
	down.Kill()
	return true
}

// logError writes the one line about a failed request.
func (x *exchange) logError(err error) {
	s := &x.session
	if f := x.phases.suppressErrorLog; f != nil && f(s, err) {
		return
	}
	level := slog.LevelError
	if x.conn.killed.Load() {
		level = slog.LevelWarn // on purpose, but a request is lost
	}
	if e, ok := errors.AsType[*proxyerr.Error](err); ok {
		switch {
		case e.Kind == proxyerr.HTTPStatus, e.Source == proxyerr.Downstream:
			level = slog.LevelDebug // rejected on purpose, or the client's own doing
		}
	}
	log, ctx := x.proxy.cfg.Logger, context.Background()
	if !log.Enabled(ctx, level) {
		return
	}
	if n, ok := x.proxy.logLimit.allow(); ok {
		log.Log(ctx, level, "request failed", "err", err, "status", x.digest().Status,
			"attempts", x.attempt, "request", x.summary(), "suppressed", n)
	}
}

// summary returns the text that stands for the request in the error log.
func (x *exchange) summary() string {
	if f := x.phases.requestSummary; f != nil {
		return f(&x.session)
	}
	r := x.down.Request()
	return r.Method + " " + r.Target + ", Host: " + r.Host()
}
