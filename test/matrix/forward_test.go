// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/test/internal/modes"
)

// A trailer cannot replace a field that a hook has set.
func TestTrailersForgeNothing(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = fmt.Fprint(w, req.Header["X-User"], describe(req.Trailer, "X-User", "X_user", "Via", "Sum"))
		})
		h := toPeers(o.peer())
		h.UpstreamRequestFilter = func(_ *proxy.Session, _ *none, head *header.Request) error {
			head.Fields.Set("X-User", "guest")
			return nil
		}
		r := newRigWith(t, m, proxy.Config{}, h)
		req := r.request("POST", "/", io.MultiReader(strings.NewReader("data")))
		req.Trailer = http.Header{"X-User": {"admin"}, "X_user": {"admin"}, "Via": {"1.1 x"}, "Sum": {"1f"}}
		r.do(req).want(t, 200, `[guest]X-User=[] X_user=[] Via=[] Sum=["1f"]`)
		r.wantAttempts(1)
	})
}

// OPTIONS is counted down and answered when it may go no further; TRACE is
// refused.
func TestMaxForwards(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, o := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			_, _ = io.WriteString(w, req.Header.Get("Max-Forwards"))
		})
		r.do(r.request("OPTIONS", "/", nil, "Max-Forwards", "3")).want(t, 200, "2")
		r.do(r.request("OPTIONS", "/", nil, "Max-Forwards", "0")).want(t, 200, "")
		r.do(r.request("TRACE", "/", nil)).wantStatus(t, 405)
		if n := o.requests.Load(); n != 1 {
			t.Errorf("the origin got %d requests, want 1", n)
		}
	})
}

// A hook may send GET as HEAD: there is no body then.
func TestGetSentAsHead(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, func(w http.ResponseWriter, req *http.Request) { _, _ = io.WriteString(w, "done") })
		h := toPeers(o.peer())
		h.UpstreamRequestFilter = func(s *proxy.Session, _ *none, head *header.Request) error {
			head.Method = strings.TrimPrefix(head.Target, "/")
			return nil
		}
		r := newRigWith(t, m, proxy.Config{}, h)
		for range 2 {
			r.get("/HEAD").want(t, 200, "")
			r.wantAttempts(1)
			r.do(r.request("HEAD", "/GET", nil)).want(t, 200, "")
			r.wantAttempts(1)
			r.get("/GET").want(t, 200, "done")
			r.wantAttempts(1)
		}
	})
}

// Two Host fields never leave the proxy, whatever a hook does.
func TestSecondHost(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, tellSeen)
		h := toPeers(o.peer())
		h.UpstreamRequestFilter = func(_ *proxy.Session, _ *none, head *header.Request) error {
			head.Fields.Add("Host", "other.test")
			return nil
		}
		r := newRigWith(t, m, proxy.Config{}, h)
		r.get("/").wantStatus(t, 500)
		r.wantKind(proxyerr.HookFailed)
		if n := o.requests.Load(); n != 0 {
			t.Errorf("the origin got %d requests, want none", n)
		}
	})
}

// The digest has the real addresses of the connection, whatever it speaks.
func TestDigestAddresses(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, echoBody)
		addrs := make(chan [2]net.Addr, 2)
		h := toPeers(o.peer())
		h.Log = func(s *proxy.Session, _ *none, _ error) {
			d := s.Digest()
			addrs <- [2]net.Addr{d.PeerAddr, d.LocalAddr}
		}
		r := newRigWith(t, m, proxy.Config{}, h)
		for range 2 {
			r.get("/").want(t, 200, "")
			got := receive(t, "Log", addrs)
			if got[0] == nil || got[0].String() != o.addr || got[1] == nil || got[1].String() != (*o.last.Load()).RemoteAddr().String() {
				t.Errorf("addresses %v, want %s and %v", got, o.addr, (*o.last.Load()).RemoteAddr())
			}
		}
	})
}

// The head of a response does not wait for its body.
func TestHeadBeforeBody(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		for _, filtered := range []bool{false, true} {
			release := make(chan struct{})
			o := newOrigin(t, m.Up, func(w http.ResponseWriter, req *http.Request) {
				_ = http.NewResponseController(w).Flush()
				<-release
				_, _ = io.WriteString(w, "late")
			})
			h := toPeers(o.peer())
			if filtered {
				h.ResponseBodyFilter = func(_ *proxy.Session, _ *none, piece []byte, _ bool) ([]byte, error) { return piece, nil }
			}
			r := newRigWith(t, m, proxy.Config{}, h)
			res, err := r.client.Do(r.request("GET", "/", nil)) // returns with the head
			close(release)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(body) != "late" || err != nil {
				t.Errorf("body %q, %v; want late", body, err)
			}
		}
	})
}
