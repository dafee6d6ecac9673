// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// OPTIONS and TRACE may name how many proxies they pass, in Max-Forwards (RFC
// 9110 section 7.6.2). For all other methods the field means nothing.

// traceRefused returns why a TRACE is not served, nil if it is.
func (x *exchange) traceRefused() error {
	switch {
	case !x.conn.front.cfg.AllowTrace:
		return &proxyerr.Error{Source: proxyerr.Downstream, Op: "TRACE", Kind: proxyerr.Unsupported, Status: 405}
	case x.down.Request().Length != 0: // RFC 9110 section 9.3.8
		return badRequest("TRACE", errors.New("it has a body"))
	}
	return nil
}

// badRequest returns an error that is answered with 400.
func badRequest(op string, cause error) error {
	return &proxyerr.Error{Source: proxyerr.Downstream, Op: op, Kind: proxyerr.BadMessage, Status: 400, Err: cause}
}

// countsForwards reports whether Max-Forwards has a meaning for a method.
func countsForwards(method string) bool { return method == "OPTIONS" || method == "TRACE" }

// lastStop answers a request that is to be forwarded no more.
func (x *exchange) lastStop() (done bool, err error) {
	req := x.down.Request()
	if !countsForwards(req.Method) || !req.Fields.Has("Max-Forwards") {
		return false, nil
	}
	left, err := maxForwards(&req.Fields)
	switch {
	case err != nil:
		return false, badRequest("read Max-Forwards", err)
	case left > 0:
		return false, nil
	case req.Method == "TRACE":
		return true, x.session.Respond(200, echo(req), "Content-Type", "message/http")
	}
	return true, x.session.Respond(200, "", "Allow", allowedMethods)
}

// countForward makes the Max-Forwards of head, that of a request which
// lastStop has let pass, one less.
func countForward(head *header.Request) {
	if !countsForwards(head.Method) || !head.Fields.Has("Max-Forwards") {
		return
	}
	if left, err := maxForwards(&head.Fields); err == nil && left > 0 {
		head.Fields.Set("Max-Forwards", strconv.FormatInt(left-1, 10))
	}
}

// maxForwards reads the field. The value may be as large as it likes.
func maxForwards(fields *header.Fields) (int64, error) {
	seen, value := false, ""
	for v := range fields.Values("Max-Forwards") {
		if seen {
			return 0, errors.New("several fields")
		}
		seen, value = true, v
	}
	if strings.Trim(value, "0123456789") != "" {
		return 0, errors.New("not a number")
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return math.MaxInt64, nil
	}
	return n, err
}

// echo returns the request as the content of the answer to a TRACE, without
// the fields that are nobody's business (RFC 9110 section 9.3.8).
func echo(req *header.Request) string {
	var b strings.Builder
	b.WriteString(req.Method + " " + req.Target + " " + req.Proto.String() + "\r\n")
	for name, value := range req.Fields.All() {
		switch {
		case header.EqualName(name, "Authorization"), header.EqualName(name, "Proxy-Authorization"), header.EqualName(name, "Cookie"):
		default:
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.String()
}
