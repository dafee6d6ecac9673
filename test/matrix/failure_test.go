// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxyerr"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/test/internal/modes"
	"github.com/belay-proxy/belay/upstream"
)

// A peer that refuses connections is passed over, whatever the method.
func TestFailOver(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, echoBody)
		r := newRigWith(t, m, proxy.Config{}, toPeers(m.Up.PeerAt(t, refusing(t)), o.peer()))
		r.get("/").want(t, 200, "")
		r.wantAttempts(2)
		r.post("/", "small").want(t, 200, "small")
		r.wantAttempts(2)
		data := proxytest.Pattern(1 << 20)
		res := r.do(r.request("POST", "/", bytes.NewReader(data)))
		sameBytes(t, "body after fail-over", res.body, data)
		r.wantAttempts(2)
	})
}

func TestConnectRefused(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r := newRigWith(t, m, proxy.Config{}, toPeers(m.Up.PeerAt(t, refusing(t))))
		r.get("/").want(t, 502, "502 Bad Gateway\n")
		r.wantKind(proxyerr.ConnectRefused)
	})
}

// A pooled connection that dies under a request: what may be repeated is.
func TestDeadPooledConnection(t *testing.T) {
	for _, tt := range []struct {
		method       string
		status, seen int
	}{{"GET", 200, 2}, {"PUT", 200, 2}, {"POST", 502, 1}} {
		t.Run(tt.method, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				var deadly atomic.Bool
				var seen atomic.Int64
				r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
					_, _ = io.ReadAll(req.Body)
					if req.URL.Path == "/" {
						return
					}
					seen.Add(1)
					if deadly.CompareAndSwap(true, false) {
						resetConn(req)
					}
				})
				r.get("/").want(t, 200, "")
				deadly.Store(true)
				r.do(r.request(tt.method, "/x", strings.NewReader("body"))).wantStatus(t, tt.status)
				if got := seen.Load(); got != int64(tt.seen) {
					t.Errorf("the origin saw it %d times, want %d", got, tt.seen)
				}
				r.get("/").want(t, 200, "") // nothing is left of it
			})
		})
	}
}

// A connection that the origin closed while it was idle costs nobody an error.
func TestClosedWhileIdle(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, o := newRig(t, m, echoBody)
		for range 5 {
			r.post("/", "data").want(t, 200, "data")
			o.reset()
			eventually(t, "connection closed", func() bool { return o.open.Load() == 0 })
			// The reset has arrived at the proxy, but over HTTP/2 a goroutine has to
			// read it, and nothing shows from outside that it has.
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A request that may have been acted on when the connection ended is not sent
// again.
func TestEndBeforeHead(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, o := newRig(t, m, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		r.post("/", "body").wantStatus(t, 502)
		r.wantKind(proxyerr.ConnClosed)
		if n := o.requests.Load(); n != 1 {
			t.Errorf("the origin saw it %d times, want once", n)
		}
	})
}

// An origin that cancels a gRPC call, as it does when the deadline passes, or a
// response that has begun, cancels the client's stream. Without a response
// other requests are answered with 502.
func TestCanceledByOrigin(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if !m.Down.H2 || !m.Up.H2 {
			t.Skip("HTTP/1 has no such thing")
		}
		testCanceledByOrigin(t, m)
	})
}

func testCanceledByOrigin(t *testing.T, m modes.Mode) {
	addr := newScript(t, m.Up, func(nc net.Conn, _ int) {
		c, err := acceptFrames(nc)
		for err == nil {
			var head frame
			if head, err = c.next(); err != nil {
				return
			}
			if head.kind != frameHeaders {
				continue
			}
			if head.field(":path") == "/begun" {
				err = c.headers(head.stream, false, ":status", "200")
			}
			err = errors.Join(err, c.reset(head.stream, codeCancel))
		}
	})
	h := toPeers(m.Up.PeerAt(t, addr))
	h.FailToProxy = func(s *proxy.Session, _ *none, _ error) {
		if s.Request().Target == "/hook" {
			_ = s.Respond(503, "a page of its own\n")
		}
	}
	r := newRigWith(t, m, proxy.Config{}, h)
	c := dialFrames(t, m.Down, r.addr)
	// A hook that answers has the last word, though the request goes on.
	must(t, c.headers(1001, false, ":method", "POST", ":scheme", m.Down.Scheme(), ":path", "/hook", ":authority", "a", "content-type", "application/grpc"))
	if got := c.reply(t, 1001); got.status != "503" || got.reset {
		t.Errorf("/hook: answered with %+v, want the hook's 503", got)
	}
	for f, err := c.next(); ; f, err = c.next() {
		must(t, err)
		if f.stream == 1001 && f.kind == frameReset {
			if f.code() != codeNo {
				t.Errorf("/hook: the rest of the request is refused with code %d, want NO_ERROR", f.code())
			}
			break
		}
	}
	tests := []struct {
		target, contentType string
		canceled            bool
	}{
		{"/", "text/plain", false},
		{"/", "application/grpc-web", false},
		{"/", "application/grpc", true},
		{"/", "application/grpc+proto", true},
		{"/", "application/grpc; charset=utf-8", true},
		{"/begun", "text/plain", true},
	}
	for i, tt := range tests {
		stream := uint32(2*i + 1003)
		must(t, c.get(stream, tt.target, "content-type", tt.contentType))
		got := c.reply(t, stream)
		switch {
		case tt.canceled && (!got.reset || got.code != codeCancel):
			t.Errorf("%s, %s: answered with %+v, want a reset with CANCEL", tt.target, tt.contentType, got)
		case !tt.canceled && (got.reset || got.status != "502"):
			t.Errorf("%s, %s: answered with %+v, want 502", tt.target, tt.contentType, got)
		}
	}
}

// An origin of HTTP/2 that refuses a stream has not acted on it.
func TestRefusedStream(t *testing.T) {
	refusals := map[string]func(c *frames, id uint32) error{
		"REFUSED_STREAM": func(c *frames, id uint32) error { return c.reset(id, codeRefused) },
		"GOAWAY":         func(c *frames, id uint32) error { return c.goAway(id-2, codeNo) },
		"GOAWAY, close":  func(c *frames, id uint32) error { return errors.Join(c.goAway(id-2, codeNo), c.nc.Close()) },
	}
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				if !m.Up.H2 {
					t.Skip("HTTP/1 has no such thing")
				}
				var refused atomic.Int64
				addr := newScript(t, m.Up, func(nc net.Conn, _ int) {
					c, err := acceptFrames(nc)
					for err == nil {
						var head frame
						if head, err = c.request(); err != nil {
							return
						}
						if head.field(":path") == "/x" && refused.Add(1) == 1 && head.stream > 1 {
							err = refuse(c, head.stream)
						} else {
							err = c.ok(head.stream, "done")
						}
					}
				})
				r := newRigWith(t, m, proxy.Config{}, toPeers(m.Up.PeerAt(t, addr)))
				r.get("/").want(t, 200, "done")
				r.wantAttempts(1)
				r.post("/x", "body").want(t, 200, "done")
				r.wantAttempts(2)
				r.get("/").want(t, 200, "done")
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		stop := make(chan struct{})
		defer close(stop)
		o := newOrigin(t, m.Up, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/body" {
				_, _ = io.WriteString(w, "some")
				_ = http.NewResponseController(w).Flush()
			}
			select {
			case <-stop:
			case <-req.Context().Done():
			}
		})
		peer := o.peer()
		peer.ReadTimeout = 100 * time.Millisecond
		r := newRigWith(t, m, proxy.Config{}, toPeers(peer))
		r.get("/head").want(t, 504, "504 Gateway Timeout\n")
		r.wantKind(proxyerr.ReadTimeout)
		r.post("/head", "body").want(t, 504, "504 Gateway Timeout\n")
		r.wantKind(proxyerr.ReadTimeout)
		for slow := true; slow; { // a busy machine may be late with the head already
			res := r.get("/body")
			r.wantKind(proxyerr.ReadTimeout)
			if slow = res.err == nil && res.StatusCode == 504; res.err == nil && !slow {
				t.Errorf("a body that stops is complete: %q", res.body)
			}
		}
	})
}

// A response body that is cut never looks whole.
func TestCutBody(t *testing.T) {
	cuts := map[string]func(w http.ResponseWriter, req *http.Request){
		"stream":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"connection":   func(_ http.ResponseWriter, req *http.Request) { resetConn(req) },
		"short length": func(http.ResponseWriter, *http.Request) {},
	}
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				if name == "short length" && m.Up.H2 {
					t.Skip("the server of net/http would end the stream in good order; see TestShortLength")
				}
				headSeen := make(chan struct{}, 2) // by the proxy: a reset can overtake the head
				o := newOrigin(t, m.Up, func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/length" || name == "short length" {
						w.Header().Set("Content-Length", "1000000")
					}
					_, _ = w.Write(proxytest.Pattern(50_000))
					_ = http.NewResponseController(w).Flush()
					select {
					case <-headSeen:
					case <-time.After(patience):
					}
					cut(w, req)
				})
				h := toPeers(o.peer())
				h.ResponseFilter = func(*proxy.Session, *none, *header.Response) error { headSeen <- struct{}{}; return nil }
				r := newRigWith(t, m, proxy.Config{}, h)
				for _, target := range []string{"/length", "/chunks"} {
					res := r.get(target)
					if res.StatusCode != 200 && res.StatusCode != 0 || res.err == nil {
						t.Errorf("%s: %d, %d bytes, no error; want a cut body", target, res.StatusCode, len(res.body))
					}
					if got := r.outcome(); got.err == nil {
						t.Errorf("%s: Log got no error", target)
					}
				}
			})
		})
	}
}

// A stream that ends in good order before its declared length is cut too.
func TestShortLength(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		if !m.Up.H2 {
			t.Skip("in TestCutBody")
		}
		addr := newScript(t, m.Up, func(nc net.Conn, _ int) {
			c, err := acceptFrames(nc)
			for err == nil {
				var head frame
				if head, err = c.request(); err == nil {
					err = errors.Join(
						c.headers(head.stream, false, ":status", "200", "content-length", "10"),
						c.data(head.stream, true, "short"))
				}
			}
		})
		r := newRigWith(t, m, proxy.Config{}, toPeers(m.Up.PeerAt(t, addr)))
		if res := r.get("/"); res.err == nil && res.StatusCode == 200 {
			t.Errorf("got %q, whole; want an error", res.body)
		}
		r.wantKind(proxyerr.BadMessage)
	})
}

// An origin may answer, and refuse the rest, while the body is still coming.
func TestEarlyResponse(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/early" {
				w.WriteHeader(413)
				_, _ = io.WriteString(w, "too much")
				return
			}
			echoBody(w, req)
		})
		for range 3 {
			stop := make(chan struct{})
			res := r.do(r.request("POST", "/early", &endless{stop: stop}))
			close(stop)
			res.want(t, 413, "too much")
			r.outcome()
			r.post("/", "next").want(t, 200, "next")
			r.wantAttempts(1)
		}
	})
}

// A client that goes away ends what is done for it at the origin.
func TestClientGone(t *testing.T) {
	for _, when := range []string{"waiting", "uploading", "downloading"} {
		t.Run(when, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				entered := make(chan struct{}, 1)
				ended := make(chan struct{}, 1)
				r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
					defer func() { ended <- struct{}{} }()
					switch when {
					case "waiting":
						entered <- struct{}{}
						<-req.Context().Done()
					case "uploading":
						_, _ = io.ReadFull(req.Body, make([]byte, 1000))
						entered <- struct{}{}
						if _, err := io.Copy(io.Discard, req.Body); err == nil {
							t.Error("the origin got a whole body")
						}
					case "downloading":
						_, _ = w.Write(make([]byte, 1000))
						_ = http.NewResponseController(w).Flush()
						entered <- struct{}{}
						for req.Context().Err() == nil {
							if _, err := w.Write(make([]byte, 10_000)); err != nil {
								return
							}
						}
					}
				})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req := r.request("GET", "/", nil)
				pr, pw := io.Pipe()
				if when == "uploading" {
					go func() { _, _ = pw.Write(make([]byte, 1000)) }()
					req = r.request("POST", "/", pr)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					if res, err := r.client.Do(req.WithContext(ctx)); err == nil {
						<-ctx.Done()
						_ = res.Body.Close()
					}
				}()
				receive(t, "request at the origin", entered)
				cancel()
				start := time.Now()
				receive(t, "end at the origin", ended)
				t.Logf("ended after %v", time.Since(start))
				_ = pw.CloseWithError(io.ErrUnexpectedEOF)
				receive(t, "end of the client", done)
				if got := r.outcome(); got.err == nil {
					t.Error("Log got no error")
				}
			})
		})
	}
}

// Errors of hooks and of the choice of a peer, as the client sees them.
func TestErrorStatus(t *testing.T) {
	failures := map[string]struct {
		err    error
		status int
	}{
		"status":     {proxyerr.WithStatus(403, "no token"), 403},
		"any error":  {errors.New("something"), 500},
		"no backend": {proxyerr.NoBackend, 503},
	}
	for name, tt := range failures {
		t.Run(name, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				r := newRigWith(t, m, proxy.Config{}, hooks{
					UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return nil, tt.err },
				})
				r.get("/").wantStatus(t, tt.status)
				r.post("/", "with a body").wantStatus(t, tt.status)
			})
		})
	}
}

// A panic in a hook ends its own request and no other, not even on the same
// connection.
func TestPanic(t *testing.T) {
	for _, where := range []string{"RequestFilter", "UpstreamPeer", "ResponseFilter", "ResponseBodyFilter", "RequestBodyFilter"} {
		t.Run(where, func(t *testing.T) {
			modes.Each(t, func(t *testing.T, m modes.Mode) {
				release := make(chan struct{})
				o := newOrigin(t, m.Up, func(w http.ResponseWriter, req *http.Request) {
					if req.URL.Path == "/slow" {
						<-release
					}
					echoBody(w, req)
				})
				bang := func(s *proxy.Session, in string) {
					if in == where && s.Request().Target == "/bang" {
						panic("bang")
					}
				}
				h := toPeers(o.peer())
				choose := h.UpstreamPeer
				h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) { bang(s, "RequestFilter"); return false, nil }
				h.UpstreamPeer = func(s *proxy.Session, st *none) (*upstream.Peer, error) {
					bang(s, "UpstreamPeer")
					return choose(s, st)
				}
				h.ResponseFilter = func(s *proxy.Session, _ *none, _ *header.Response) error { bang(s, "ResponseFilter"); return nil }
				h.RequestBodyFilter = func(s *proxy.Session, _ *none, p []byte, _ bool) ([]byte, error) {
					bang(s, "RequestBodyFilter")
					return p, nil
				}
				h.ResponseBodyFilter = func(s *proxy.Session, _ *none, p []byte, _ bool) ([]byte, error) {
					bang(s, "ResponseBodyFilter")
					return p, nil
				}
				r := newRigWith(t, m, proxy.Config{}, h)
				slow := make(chan response, 1)
				go func() { slow <- r.do(r.request("POST", "/slow", strings.NewReader("slow"))) }()
				eventually(t, "slow request", func() bool { return o.requests.Load() == 1 })
				for range 3 {
					if res := r.post("/bang", "body"); res.err == nil && res.StatusCode != 500 {
						t.Errorf("got %d, want 500 or a cut response", res.StatusCode)
					}
					r.wantKind(proxyerr.HookPanicked)
				}
				close(release)
				receive(t, "slow response", slow).want(t, 200, "slow")
				r.post("/", "after").want(t, 200, "after")
			})
		})
	}
}
