// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxyerr

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

func TestErrorMessage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  *Error
		want string
	}{
		{&Error{}, ": "},
		{New(Internal, HookFailed, "", nil), "internal: hook failed"},
		{New(Downstream, ReadTimeout, "read request head", nil), "downstream: read request head: read timeout"},
		{New(Upstream, ConnClosed, "read response head", io.EOF), "upstream: read response head: connection closed: EOF"},
		{
			&Error{Source: Upstream, Addr: "10.0.0.7:443", Op: "dial", Kind: ConnectTimeout, Err: errors.New("i/o timeout")},
			"upstream 10.0.0.7:443: dial: connect timeout: i/o timeout",
		},
		{WithStatus(403, "no token"), "internal: no token: HTTP status 403"},
		{&Error{Source: Downstream, Op: "read request head", Kind: BadMessage, Status: 431}, "downstream: read request head: malformed message 431"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%#v reads %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestIs(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("write: %w", net.ErrClosed)
	err := fmt.Errorf("attempt 2: %w", New(Upstream, WriteFailed, "send request", cause))
	tests := []struct {
		target error
		want   bool
	}{
		{WriteFailed, true},
		{net.ErrClosed, true},
		{cause, true},
		{WriteTimeout, false},
		{io.EOF, false},
		{New(Upstream, WriteFailed, "send request", cause), false}, // another Error is another failure
	}
	for _, tt := range tests {
		if got := errors.Is(err, tt.target); got != tt.want {
			t.Errorf("errors.Is(%q, %q) = %v, want %v", err, tt.target, got, tt.want)
		}
	}
}

func TestIsFindsNestedKind(t *testing.T) {
	t.Parallel()
	inner := New(Upstream, TLSTimeout, "handshake", nil)
	outer := New(Internal, BudgetExhausted, "retry", inner)
	for kind, want := range map[Kind]bool{BudgetExhausted: true, TLSTimeout: true, ReadTimeout: false} {
		if got := errors.Is(outer, kind); got != want {
			t.Errorf("errors.Is(%q, %q) = %v, want %v", outer, kind, got, want)
		}
	}
}

func TestAs(t *testing.T) {
	t.Parallel()
	want := WithStatus(429, "slow down")
	wrapped := fmt.Errorf("filter: %w", want)
	var got *Error
	if !errors.As(wrapped, &got) || got != want {
		t.Errorf("errors.As = %v, want %v", got, want)
	}
	if got, ok := errors.AsType[*Error](wrapped); !ok || got.Status != 429 || got.Source != Internal || got.Retry != RetryNever {
		t.Errorf("errors.AsType = %+v, %v, want %+v", got, ok, want)
	}
	if kind, ok := errors.AsType[Kind](wrapped); ok {
		t.Errorf("a Kind %q is in the chain, want only the Error", kind)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	timeouts := map[Kind]bool{ConnectTimeout: true, TLSTimeout: true, ReadTimeout: true, WriteTimeout: true}
	for _, kind := range []Kind{
		ConnectTimeout, ConnectRefused, ConnectNoRoute, ConnectFailed, ConnectProxy, BindFailed, SocketFailed,
		TLSHandshake, TLSTimeout, InvalidCert, ReadTimeout, WriteTimeout, ReadFailed, WriteFailed, ConnClosed,
		BadMessage, TooLarge, StreamRefused, NoBackend, BudgetExhausted, HTTPStatus, Canceled, Unsupported,
		HookFailed, HookPanicked, InternalFailure,
	} {
		if got := New(Upstream, kind, "", nil).Timeout(); got != timeouts[kind] {
			t.Errorf("%q: Timeout = %v, want %v", kind, got, timeouts[kind])
		}
		if kind.Error() != string(kind) || kind == "" {
			t.Errorf("%q: Error = %q", string(kind), kind.Error())
		}
	}
}

func TestCanRetry(t *testing.T) {
	t.Parallel()
	with := func(r Retry) error { return &Error{Source: Upstream, Kind: ConnClosed, Retry: r} }
	tests := []struct {
		name             string
		err              error
		once, idempotent bool // want, for a request to be acted on once and for an idempotent one
	}{
		{"nil", nil, false, false},
		{"other type", io.EOF, false, false},
		{"a bare kind", ConnClosed, false, false},
		{"zero value", New(Upstream, ConnClosed, "", nil), false, false},
		{"never", with(RetryNever), false, false},
		{"connection ended", with(RetryIfReused), false, true},
		{"always", with(RetryAlways), true, true},
		{"out of range", with(RetryAlways + 1), false, false},
		{"wrapped", fmt.Errorf("hook: %w", with(RetryAlways)), true, true},
		{"the outermost decides", &Error{Retry: RetryNever, Err: with(RetryAlways)}, false, false},
	}
	for _, tt := range tests {
		if got := CanRetry(tt.err, false); got != tt.once {
			t.Errorf("%s: CanRetry of a request to be acted on once = %v, want %v", tt.name, got, tt.once)
		}
		if got := CanRetry(tt.err, true); got != tt.idempotent {
			t.Errorf("%s: CanRetry of an idempotent request = %v, want %v", tt.name, got, tt.idempotent)
		}
	}
}
