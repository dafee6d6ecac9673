// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"

	"github.com/belay-proxy/belay/http1"
	"github.com/belay-proxy/belay/http2"
)

// Rejections counts, by reason, what clients have sent that never became a
// request of a Proxy.
type Rejections struct {
	Malformed int64 `json:"malformed,omitempty"` // requests, and mistakes that ended a connection of HTTP/2
	TooLarge  int64 `json:"too_large,omitempty"` // heads
	Late      int64 `json:"late,omitempty"`      // requests or first frames that took too long
	Flood     int64 `json:"flood,omitempty"`     // connections of HTTP/2 that were ended for what they made us do
}

func (r Rejections) sum() int64 { return r.Malformed + r.TooLarge + r.Late + r.Flood }

// A reason is why something was rejected, in the order of Rejections.
type reason int

const (
	malformed reason = iota
	tooLarge
	late
	flood
	numReasons
)

// String returns the word of the reason in the log.
func (r reason) String() string { return [...]string{"malformed", "too large", "late", "flood"}[r] }

// reasonFor returns the reason for a status that a client gets, 0 if it gets
// the end of the connection with code.
func reasonFor(status int, code http2.ErrCode) reason {
	switch {
	case status == 413, status == 414, status == 431:
		return tooLarge
	case status == 408, status == 0 && code == http2.SettingsTimeout:
		return late
	case status == 0 && code == http2.EnhanceYourCalm:
		return flood
	}
	return malformed
}

func (f *front) onReject(c *http1.ServerConn, status int, err error) {
	f.reject(c.NetConn(), reasonFor(status, 0), status, err)
}

func (f *front) onRejectH2(c *http2.ServerConn, status int, err error) {
	f.reject(c.NetConn(), reasonFor(status, http2.CodeOf(err)), status, err)
}

// reject counts and logs something that was rejected.
func (f *front) reject(nc net.Conn, why reason, status int, err error) {
	f.rejected[why].Add(1)
	n, ok := f.limit.allow()
	if !ok {
		return
	}
	what := "request refused"
	if status == 0 {
		what = "connection ended"
	}
	f.log.Info(what, "client", nc.RemoteAddr().String(), "status", status, "reason", why.String(), "err", err, "suppressed", n)
}

func (f *front) rejections() Rejections {
	return Rejections{
		Malformed: f.rejected[malformed].Load(), TooLarge: f.rejected[tooLarge].Load(),
		Late: f.rejected[late].Load(), Flood: f.rejected[flood].Load(),
	}
}

// goOnFromRejections sets the counters.
func (f *front) goOnFromRejections(r Rejections) {
	for why, n := range [numReasons]int64{r.Malformed, r.TooLarge, r.Late, r.Flood} {
		f.rejected[why].Store(n)
	}
}
