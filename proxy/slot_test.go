// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
)

// Each request has its own value, from its first hook to its last, whatever
// other requests do.
func TestSlot(t *testing.T) {
	proxytest.CheckLeaks(t)
	number, name := proxy.NewSlot[int](), proxy.NewSlot[string]()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream)))
		h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) {
			if *number.Of(s) != 0 || *name.Of(s) != "" {
				t.Errorf("a new request has %d and %q", *number.Of(s), *name.Of(s))
			}
			n, _ := strconv.Atoi(s.Request().Target[1:])
			*number.Of(s), *name.Of(s) = n, s.Request().Target
			return false, nil
		}
		h.Log = func(s *proxy.Session, _ *none, _ error) {
			if got := *name.Of(s); got != s.Request().Target || "/"+strconv.Itoa(*number.Of(s)) != got {
				t.Errorf("%s ends with %d and %q", s.Request().Target, *number.Of(s), got)
			}
		}
		r := newRig(t, m, proxy.Config{}, h)
		var wg sync.WaitGroup
		for c := range 4 {
			client := proxytest.NewClient(t, r.addr)
			wg.Go(func() {
				for i := range 50 {
					client.Get("/"+strconv.Itoa(100*c+i)).Check(t, 200, "")
				}
			})
		}
		wg.Wait()
	})
}

// The filters of both directions run at the same time and have slots of their
// own.
func TestSlotsOfConcurrentFilters(t *testing.T) {
	proxytest.CheckLeaks(t)
	up, down := proxy.NewSlot[int](), proxy.NewSlot[int]()
	proxytest.Run(t, func(t *testing.T, m proxytest.Mode) {
		h := to(proxytest.NewOrigin(t, proxytest.Speak(m.Upstream), proxytest.AnswerEarly(), proxytest.BodySize(1000),
			proxytest.Chunked(10), proxytest.Drip(10, time.Millisecond)))
		h.RequestBodyFilter = func(s *proxy.Session, _ *none, c []byte, _ bool) ([]byte, error) {
			*up.Of(s) += len(c)
			s.Context()
			return c, nil
		}
		h.ResponseFilter = func(s *proxy.Session, _ *none, _ *header.Response) error {
			s.Context()
			if s.Digest().RequestBodyBytes > 100 {
				t.Error("more body than there is")
			}
			return nil
		}
		h.ResponseBodyFilter = func(s *proxy.Session, _ *none, c []byte, _ bool) ([]byte, error) {
			*down.Of(s) += len(c)
			return c, nil
		}
		h.Log = func(s *proxy.Session, _ *none, _ error) {
			if *up.Of(s) != 100 || *down.Of(s) != 1000 {
				t.Errorf("%d bytes up and %d down, want 100 and 1000", *up.Of(s), *down.Of(s))
			}
		}
		r := newRig(t, m, proxy.Config{}, h)
		conn := r.Dial()
		must(t, conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"))
		for range 10 {
			must(t, conn.SendPieces(time.Millisecond, "", "0123456789"))
		}
		conn.Response("POST").Check(t, 200, string(proxytest.Pattern(1000)))
		r.wantOK()
	})
}
