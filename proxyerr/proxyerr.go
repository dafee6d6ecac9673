// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package proxyerr describes a failure while proxying: which side failed, at
// what, and whether sending the request again may help.
//
//	if errors.Is(err, proxyerr.ConnectTimeout) { … }
//
//	if e, ok := errors.AsType[*proxyerr.Error](err); ok && e.Source == proxyerr.Downstream {
//		// the client went away; nothing is wrong here
//	}
package proxyerr

import (
	"errors"
	"strconv"
)

// A Source is the side of the proxy that an error came from.
type Source string

// The sources.
const (
	Internal   Source = "internal"   // the proxy itself or a hook
	Downstream Source = "downstream" // the client
	Upstream   Source = "upstream"   // the peer
)

// A Kind classifies an error. A Kind is itself an error, so that callers can
// write errors.Is(err, proxyerr.ConnectTimeout).
type Kind string

// Error returns the kind as text.
func (k Kind) Error() string { return string(k) }

// The kinds.
const (
	ConnectTimeout  Kind = "connect timeout"
	ConnectRefused  Kind = "connection refused"
	ConnectNoRoute  Kind = "no route to peer"
	ConnectFailed   Kind = "connect failed"
	ConnectProxy    Kind = "proxy refused to connect"
	BindFailed      Kind = "cannot bind to source address"
	SocketFailed    Kind = "socket error"
	TLSHandshake    Kind = "TLS handshake failed"
	TLSTimeout      Kind = "TLS handshake timeout"
	InvalidCert     Kind = "invalid certificate"
	ReadTimeout     Kind = "read timeout"
	WriteTimeout    Kind = "write timeout"
	ReadFailed      Kind = "read error"
	WriteFailed     Kind = "write error"
	ConnClosed      Kind = "connection closed"
	BadMessage      Kind = "malformed message"
	TooLarge        Kind = "message too large"
	StreamRefused   Kind = "stream refused"
	NoBackend       Kind = "no backend available"
	BudgetExhausted Kind = "retry budget exhausted"
	HTTPStatus      Kind = "HTTP status"
	Canceled        Kind = "canceled"
	Unsupported     Kind = "not supported"
	HookFailed      Kind = "hook failed"
	HookPanicked    Kind = "hook panicked"
	InternalFailure Kind = "internal error"
)

// Retry says whether a failed request may be sent again.
type Retry uint8

// The choices. The zero Retry is the safe one.
const (
	RetryNever    Retry = iota
	RetryIfReused       // the connection ended without an answer, as one from the pool may at any time: only if acting twice is the same as once
	RetryAlways
)

// Error is the type of every error this module returns for a failed exchange.
type Error struct {
	Source Source
	Addr   string // of the peer or client, if known
	Op     string // what was being done: "dial", "read response head"
	Kind   Kind
	Retry  Retry
	Status int   // that the client is to get; 0 means by Source and Kind
	Err    error // the cause, or nil
}

// New returns an error of the given source and kind with an optional cause.
func New(source Source, kind Kind, op string, cause error) *Error {
	return &Error{Source: source, Kind: kind, Op: op, Err: cause}
}

// WithStatus returns an error that FailToProxy answers with the given status
// code. Hooks return it to reject a request: 403, 429 and the like.
func WithStatus(status int, why string) *Error {
	return &Error{Source: Internal, Kind: HTTPStatus, Op: why, Status: status}
}

// Error returns, for example,
// "upstream 10.0.0.7:443: dial: connect timeout: i/o timeout".
func (e *Error) Error() string {
	msg := string(e.Source)
	if e.Addr != "" {
		msg += " " + e.Addr
	}
	if e.Op != "" {
		msg += ": " + e.Op
	}
	msg += ": " + string(e.Kind)
	if e.Status != 0 {
		msg += " " + strconv.Itoa(e.Status)
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is e's Kind.
func (e *Error) Is(target error) bool { return target == e.Kind }

// Timeout reports whether e is a timeout, as net.Error does.
func (e *Error) Timeout() bool {
	switch e.Kind {
	case ConnectTimeout, TLSTimeout, ReadTimeout, WriteTimeout:
		return true
	}
	return false
}

// CanRetry reports whether err permits another attempt at a request that is
// idempotent (RFC 9110 section 9.2.2) or not. Errors of other types are final.
func CanRetry(err error, idempotent bool) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Retry == RetryAlways || e.Retry == RetryIfReused && idempotent)
}
