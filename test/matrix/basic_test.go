// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/test/internal/modes"
)

const large = 15 << 20

func TestGet(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, o := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Seen", req.Method+" "+req.RequestURI+" "+req.Host)
			_, _ = io.WriteString(w, "hello")
		})
		for range 3 {
			res := r.get("/a/b?c=%20d")
			res.want(t, 200, "hello")
			if got, want := res.Header.Get("Seen"), "GET /a/b?c=%20d origin.test"; got != want {
				t.Errorf("the origin saw %q, want %q", got, want)
			}
			if got, want := res.ContentLength, int64(5); got != want {
				t.Errorf("length %d, want %d", got, want)
			}
			r.wantAttempts(1)
		}
		if n := o.conns.Load(); n != 1 {
			t.Errorf("%d connections to the origin, want 1", n)
		}
	})
}

func TestHead(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1234")
			w.Header().Set("Etag", `"x"`)
		})
		for range 2 { // the second one finds out whether the first has left a body behind
			res := r.do(r.request("HEAD", "/", nil))
			res.want(t, 200, "")
			if res.ContentLength != 1234 || res.Header.Get("Etag") != `"x"` {
				t.Errorf("length %d, %s; want 1234 and the fields", res.ContentLength, describe(res.Header, "Etag"))
			}
			r.wantAttempts(1)
		}
	})
}

func TestNoBodyStatus(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			status := 204
			if req.URL.Path == "/304" {
				status = 304
			}
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(status)
		})
		for range 2 {
			for target, status := range map[string]int{"/204": 204, "/304": 304} {
				res := r.get(target)
				res.want(t, status, "")
				if got := res.Header.Get("Etag"); got != `"x"` {
					t.Errorf("%s: Etag = %q, want it", target, got)
				}
				r.wantAttempts(1)
			}
		}
	})
}

// Bodies of both kinds, known length and unknown, at sizes around the borders
// of frames, windows and buffers.
func TestBodySizes(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Length-Seen", fmt.Sprint(req.ContentLength))
			echoBody(w, req)
		})
		for _, n := range []int{0, 1, 16383, 16384, 16385, 65535, 65536, 1 << 20} {
			data := proxytest.Pattern(n)
			for _, known := range []bool{true, false} {
				var body io.Reader = bytes.NewReader(data)
				if !known {
					body = io.MultiReader(body) // hides the length
				}
				res := r.do(r.request("POST", "/", body))
				if res.err != nil || res.StatusCode != 200 {
					t.Fatalf("%d bytes, known %v: %d, %v", n, known, res.StatusCode, res.err)
				}
				sameBytes(t, fmt.Sprintf("%d bytes, known %v", n, known), res.body, data)
				if got := res.Header.Get("Length-Seen"); known && got != fmt.Sprint(n) {
					t.Errorf("the origin saw length %s, want %d", got, n)
				}
				r.wantAttempts(1)
			}
		}
	})
}

func TestLargeBothWays(t *testing.T) {
	data := proxytest.Pattern(large)
	sum := sha256.Sum256(data)
	modes.Few(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			if req.Method == "GET" {
				_, _ = w.Write(data)
				return
			}
			h := sha256.New()
			if _, err := io.Copy(h, req.Body); err != nil {
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(h.Sum(nil))
		})
		res := r.get("/")
		if res.err != nil {
			t.Fatal(res.err)
		}
		sameBytes(t, "download", res.body, data)
		r.wantAttempts(1)
		r.do(r.request("POST", "/", bytes.NewReader(data))).want(t, 200, string(sum[:]))
		r.wantAttempts(1)
	})
}

// Both directions at the same time: what the origin echoes piece by piece.
func TestDuplex(t *testing.T) {
	data := proxytest.Pattern(4 << 20)
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			if _, err := io.Copy(w, req.Body); err != nil {
				panic(http.ErrAbortHandler)
			}
		})
		res := r.do(r.request("POST", "/", io.MultiReader(bytes.NewReader(data))))
		if res.err != nil {
			t.Fatal(res.err)
		}
		sameBytes(t, "echo", res.body, data)
		r.wantAttempts(1)
	})
}

func TestTrailers(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			w.Header().Set("Trailer", "Checksum")
			// Without this an origin of HTTP/2 announces a length, with which
			// HTTP/1 has no place for trailers.
			_ = http.NewResponseController(w).Flush()
			_, _ = fmt.Fprintf(w, "%s %s", body, req.Trailer.Get("Checksum"))
			w.Header().Set("Checksum", "down")
		})
		req := r.request("POST", "/", io.MultiReader(strings.NewReader("data")), "TE", "trailers")
		req.Trailer = http.Header{"Checksum": {"up"}}
		res := r.do(req)
		res.want(t, 200, "data up")
		if got := res.Trailer.Get("Checksum"); got != "down" {
			t.Errorf("trailer Checksum = %q, want down", got)
		}
		r.wantAttempts(1)
		r.post("/", "data").want(t, 200, "data ") // no trailers, no TE
		r.wantAttempts(1)
	})
}

func TestEarlyHints(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, _ *http.Request) {
			for _, link := range []string{"</a>", "</b>"} {
				w.Header().Set("Link", link)
				w.WriteHeader(103)
			}
			w.Header().Del("Link")
			_, _ = io.WriteString(w, "done")
		})
		var mu sync.Mutex
		var got []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		}}
		req := r.request("GET", "/", nil)
		r.do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace))).want(t, 200, "done")
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"103 </a>", "103 </b>"}; !slices.Equal(got, want) {
			t.Errorf("informational responses %q, want %q", got, want)
		}
	})
}

// The client sends its body only after the origin has asked for it.
func TestExpectContinue(t *testing.T) {
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		r, _ := newRig(t, m, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/refuse" {
				w.WriteHeader(403)
				return
			}
			echoBody(w, req)
		})
		r.post("/", "wait for it", "Expect", "100-continue").want(t, 200, "wait for it")
		r.wantAttempts(1)
		body := new(endless)
		res := r.do(r.request("POST", "/refuse", body, "Expect", "100-continue"))
		res.want(t, 403, "")
		if n := body.read.Load(); n != 0 {
			t.Errorf("the client has sent %d bytes of a body that nobody asked for", n)
		}
	})
}

// What hooks make of a body: more, less, nothing until the end.
func TestBodyFilters(t *testing.T) {
	filters := map[string]func([]byte, bool) []byte{
		"grow":   func(p []byte, _ bool) []byte { return bytes.Repeat(p, 3) },
		"shrink": func(p []byte, _ bool) []byte { return bytes.ReplaceAll(p, []byte("a"), nil) },
	}
	data := proxytest.Pattern(200_000)
	var held []byte
	filters["hold"] = func(p []byte, last bool) []byte {
		held = append(held, p...)
		if !last {
			return nil
		}
		all := append(held, "!"...)
		held = nil
		return all
	}
	wants := map[string]func([]byte) []byte{
		"grow": nil, // pieces are not known beforehand; only the length is
		"hold": func(p []byte) []byte { return append(slices.Clip(p), '!') },
		"shrink": func(p []byte) []byte {
			return bytes.ReplaceAll(p, []byte("a"), nil)
		},
	}
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, echoBody)
		for name, f := range filters {
			for _, side := range []string{"request", "response"} {
				h := toPeers(o.peer())
				filter := func(_ *proxy.Session, _ *none, p []byte, last bool) ([]byte, error) { return f(p, last), nil }
				if side == "request" {
					h.RequestBodyFilter = filter
				} else {
					h.ResponseBodyFilter = filter
				}
				r := newRigWith(t, m, proxy.Config{}, h)
				res := r.do(r.request("POST", "/", bytes.NewReader(data)))
				what := side + " " + name
				if res.err != nil || res.StatusCode != 200 {
					t.Fatalf("%s: %d, %v", what, res.StatusCode, res.err)
				}
				if want := wants[name]; want != nil {
					sameBytes(t, what, res.body, want(data))
				} else if len(res.body) != 3*len(data) {
					t.Errorf("%s: %d bytes, want %d", what, len(res.body), 3*len(data))
				}
				r.wantAttempts(1)
			}
		}
	})
}

// A hook that wants the whole body says how much it takes. A body of exactly
// that much passes, one byte more is refused, whether its length is known from
// the head or shows only when it has come.
func TestBodyLimit(t *testing.T) {
	const limit = 20_000 // a refused body is read to its end: MaxDrainBytes is more than twice that
	modes.Each(t, func(t *testing.T, m modes.Mode) {
		o := newOrigin(t, m.Up, echoBody)
		h := toPeers(o.peer())
		h.RequestFilter = func(s *proxy.Session, _ *none) (bool, error) {
			_, err := s.Body(limit)
			return false, err
		}
		r := newRigWith(t, m, proxy.Config{}, h)
		bodies := map[string]func(data []byte) io.Reader{
			"length": func(data []byte) io.Reader { return bytes.NewReader(data) },
			"pieces": func(data []byte) io.Reader { return io.MultiReader(bytes.NewReader(data)) },
		}
		for name, body := range bodies {
			for _, n := range []int{0, 1, limit - 1, limit} {
				data := proxytest.Pattern(n)
				res := r.do(r.request("POST", "/", body(data)))
				res.wantStatus(t, 200)
				sameBytes(t, fmt.Sprint(name, ", ", n, " bytes"), res.body, data)
				r.wantAttempts(1)
			}
			reached := o.requests.Load()
			for _, n := range []int{limit + 1, 2 * limit} {
				r.do(r.request("POST", "/", body(proxytest.Pattern(n)))).wantStatus(t, 413)
				if got := r.outcome(); got.status != 413 {
					t.Errorf("%s, %d bytes: Log got status %d", name, n, got.status)
				}
			}
			if got := o.requests.Load() - reached; got != 0 {
				t.Errorf("%s: %d requests that are too large reached the origin", name, got)
			}
		}
		// Nobody asks for a body whose announced length is too large already.
		unsent := new(endless)
		req := r.request("POST", "/", unsent, "Expect", "100-continue")
		req.ContentLength = limit + 1
		r.do(req).wantStatus(t, 413)
		if n := unsent.read.Load(); n != 0 {
			t.Errorf("the client has sent %d bytes of a body that is refused", n)
		}
	})
}
