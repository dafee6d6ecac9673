// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/proxyerr"
)

// The tests here let both roles speak with the standard library.

// stdClient returns a client of the standard library and the address of a
// server of ours that it speaks HTTP/2 to, with or without TLS.
func stdClient(t *testing.T, useTLS bool, cfg Config, handle func(*ServerStream)) (*http.Client, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Protocols: new(http.Protocols)}
	url := "http://" + ln.Addr().String()
	if useTLS {
		cert := httptest.NewUnstartedServer(nil)
		cert.StartTLS()
		config := &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{"h2"}}
		tr.TLSClientConfig = cert.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		tr.TLSClientConfig.ServerName = "example.com"
		cert.Close()
		ln = tls.NewListener(ln, config)
		tr.Protocols.SetHTTP2(true)
		url = "https://" + ln.Addr().String()
	} else {
		tr.Protocols.SetUnencryptedHTTP2(true)
	}
	cfg.OnClose = func(err error) {
		if _, ours := errors.AsType[*connError](err); ours {
			t.Errorf("a connection has ended: %v", err)
		}
	}
	cfg = cfg.WithDefaults()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []*ServerConn // guarded by mu
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			c := NewServerConn(nc, &cfg, nil, handle)
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(c.Serve)
		}
	})
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Kill() // the client may not have noticed yet that it is idle
		}
		mu.Unlock()
		wg.Wait()
	})
	return &http.Client{Transport: tr, Timeout: patience}, url
}

// copyBack answers with the request body as it comes, and its trailers.
func copyBack(s *ServerStream) {
	if s.WriteHead(&header.Response{Status: 200, Length: header.UnknownLength}, false) != nil || s.Flush() != nil {
		return
	}
	for {
		piece, last, err := s.ReadBody()
		if err != nil {
			return
		}
		if s.WriteBody(piece, false) != nil {
			return
		}
		if last {
			s.WriteTrailers(s.Trailers())
			return
		}
	}
}

// eachTLS runs a test with and without TLS.
func eachTLS(t *testing.T, test func(t *testing.T, useTLS bool)) {
	t.Helper()
	t.Parallel()
	for _, useTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", useTLS), func(t *testing.T) {
			t.Parallel()
			test(t, useTLS)
		})
	}
}

func TestServerWithStdClient(t *testing.T) {
	eachTLS(t, func(t *testing.T, useTLS bool) {
		client, url := stdClient(t, useTLS, Config{StreamWindow: 1 << 17}, copyBack)
		t.Run("large bodies and trailers, many at once", func(t *testing.T) {
			var wg sync.WaitGroup
			for i := range 30 {
				wg.Go(func() {
					body := bytes.Repeat([]byte(fmt.Sprintf("%08d", i)), 20_000)
					req, _ := http.NewRequest("POST", url, io.MultiReader(bytes.NewReader(body)))
					req.Trailer = http.Header{"Sum": {fmt.Sprint(i)}}
					res, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					got, err := io.ReadAll(res.Body)
					if err != nil || !bytes.Equal(got, body) || res.ProtoMajor != 2 || res.Trailer.Get("Sum") != fmt.Sprint(i) {
						t.Errorf("got %d bytes, %v, %s, trailers %v, want what was sent", len(got), err, res.Proto, res.Trailer)
					}
				})
			}
			wg.Wait()
		})
		t.Run("cancelled", func(t *testing.T) {
			for range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				body, w := io.Pipe()
				req, _ := http.NewRequestWithContext(ctx, "POST", url, body)
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				w.Write([]byte("x"))
				res.Body.Read(make([]byte, 1))
				cancel()
				res.Body.Close()
				w.Close()
			}
			res, err := client.Post(url, "", strings.NewReader("after"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); string(got) != "after" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	})
}

func TestServerWithStdClientHeads(t *testing.T) {
	t.Parallel()
	client, url := stdClient(t, false, Config{}, func(s *ServerStream) {
		switch s.Request().Target {
		case "/early":
			s.WriteHead(&header.Response{Status: 103}, false)
			answer(s, 200, "x")
		case "/continue":
			s.WriteContinue()
			echo(s)
		case "/unread":
			answer(s, 413, "no")
		case "/abort":
			s.WriteHead(&header.Response{Status: 200, Length: -1}, false)
			s.WriteBody([]byte("x"), false)
			s.Abort()
		case "/head":
			s.WriteHead(&header.Response{Status: 200, Length: 1000}, true)
		}
	})
	do := func(method, path string, body io.Reader, fields ...string) (*http.Response, string, error) {
		informational := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
			informational++
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, method, url+path, body)
		for _, f := range fields {
			name, value, _ := strings.Cut(f, "=")
			req.Header.Add(name, value)
		}
		res, err := client.Do(req)
		if err != nil {
			return nil, "", err
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if path == "/early" && informational != 1 {
			t.Errorf("%d informational responses, want 1", informational)
		}
		return res, string(got), err
	}
	if res, body, err := do("GET", "/early", nil); err != nil || body != "x" || res.ContentLength != 1 || res.Header.Get("Date") == "" {
		t.Errorf("early hints: %v, %q, %v", res, body, err)
	}
	if _, body, err := do("POST", "/continue", strings.NewReader("x"), "Expect=100-continue"); err != nil || !strings.Contains(body, `"x"`) {
		t.Errorf("continue: %q, %v", body, err)
	}
	if res, body, err := do("POST", "/unread", bytes.NewReader(make([]byte, 1<<20))); err != nil || res.StatusCode != 413 || body != "no" {
		t.Errorf("unread: %v, %q, %v", res, body, err)
	}
	if _, body, err := do("GET", "/abort", nil); err == nil {
		t.Errorf("aborted: %q without an error", body)
	}
	if res, body, err := do("HEAD", "/head", nil); err != nil || body != "" || res.ContentLength != 1000 {
		t.Errorf("HEAD: %v, %q, %v", res, body, err)
	}
}

// TestDrainUnderLoad: a connection that is drained loses no request.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	var conns sync.Map
	client, url := stdClient(t, false, Config{}, func(s *ServerStream) {
		conns.Store(s.Conn(), true)
		ok(s)
	})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := client.Get(url)
				if err != nil {
					t.Errorf("lost: %v", err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		})
	}
	timeout := time.After(patience)
	for n := 0; n < 3; { // drain one connection after the other
		select {
		case <-timeout:
			t.Fatal("no connection came")
		default:
		}
		conns.Range(func(c, _ any) bool {
			c.(*ServerConn).Drain()
			<-c.(*ServerConn).closed
			conns.Delete(c)
			n++
			return true
		})
	}
	close(stop)
	wg.Wait()
}

// stdServer returns a server of the standard library and a connection of ours
// to it.
func stdServer(t *testing.T, useTLS bool, cfg Config, handler http.HandlerFunc) *ClientConn {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.Protocols = new(http.Protocols)
	var nc net.Conn
	var err error
	scheme := "http"
	if useTLS {
		srv.Config.Protocols.SetHTTP2(true)
		srv.EnableHTTP2 = true
		srv.StartTLS()
		config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.ServerName, config.NextProtos = "example.com", []string{"h2"}
		nc, err = tls.Dial("tcp", srv.Listener.Addr().String(), config)
		scheme = "https"
	} else {
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		nc, err = net.Dial("tcp", srv.Listener.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.WithDefaults()
	c := NewClientConn(nc, &cfg, scheme)
	t.Cleanup(func() {
		c.Close()
		waitFor(t, "the end of the connection", c.Closed())
		srv.Close()
	})
	return c
}

// roundTrip sends a request with a body in pieces and trailers, reading at the
// same time.
func roundTrip(c *ClientConn, body []byte, trailers *header.Fields) (r response) {
	s := c.NewStream(nil, patience, patience)
	if s == nil {
		return response{err: ErrNoStream}
	}
	defer s.Finish()
	if r.err = s.WriteHead(newRequest("POST", "/", -1), "", true, false); r.err != nil {
		return r
	}
	if r.err = s.Flush(); r.err != nil {
		return r
	}
	written := make(chan error, 1)
	go func() {
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 50_000)
			if err := s.WriteBody(rest[:n], false); err != nil {
				written <- err
				return
			}
			rest = rest[n:]
		}
		written <- s.WriteTrailers(trailers)
	}()
	r = receive(s)
	return response{r.statuses, r.body, r.trailers, errors.Join(r.err, <-written)}
}

func TestClientWithStdServer(t *testing.T) {
	eachTLS(t, func(t *testing.T, useTLS bool) {
		c := stdServer(t, useTLS, Config{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "Sum")
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			io.Copy(w, r.Body)
			w.Header().Set("Sum", r.Trailer.Get("Sum"))
		})
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				body := bytes.Repeat([]byte(fmt.Sprintf("%08d", i)), 20_000)
				var trailers header.Fields
				trailers.Add("Sum", fmt.Sprint(i))
				got := roundTrip(c, body, &trailers)
				if got.err != nil || got.body != string(body) || got.statuses != "200;" {
					t.Errorf("got %d bytes, %s, %v, want what was sent", len(got.body), got.statuses, got.err)
				}
			})
		}
		wg.Wait()
		for range 50 { // cancelled at any moment
			s := c.NewStream(nil, 0, 0)
			s.WriteHead(newRequest("POST", "/", -1), "", false, false)
			s.WriteBody(make([]byte, 10_000), false)
			s.Finish()
		}
		if got := roundTrip(c, []byte("after"), nil); got.err != nil || got.body != "after" {
			t.Errorf("after cancelling: %v", got)
		}
	})
}

func TestClientWithStdServerHeads(t *testing.T) {
	t.Parallel()
	c := stdServer(t, false, Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			w.WriteHeader(103)
			fmt.Fprintf(w, "%s %s %s", r.Host, r.Header["Cookie"], r.Header["A"])
		case "/none":
			w.WriteHeader(204)
		case "/unread":
			w.WriteHeader(413)
		case "/panic":
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	get := func(method, path string, length int64, body []byte) response {
		s := c.NewStream(nil, patience, patience)
		defer s.Finish()
		req := newRequest(method, path, length)
		req.Fields.Add("Cookie", "a=b; c=d")
		req.Fields.Add("A", "1")
		req.Fields.Add("A", "2")
		if err := s.WriteHead(req, "", false, length == 0); err != nil {
			return response{err: err}
		}
		if length != 0 {
			if err := s.WriteBody(body, true); err != nil {
				return response{err: err}
			}
		}
		return receive(s)
	}
	if got, want := get("GET", "/early", 0, nil), (response{statuses: "103 200;", body: "h [a=b; c=d] [1 2]"}); got != want {
		t.Errorf("early hints: %v, want %v", got, want)
	}
	if got, want := get("GET", "/none", 0, nil), (response{statuses: "204;"}); got != want {
		t.Errorf("no content: %v, want %v", got, want)
	}
	if got, want := get("HEAD", "/early", 0, nil), (response{statuses: "103 200;"}); got != want {
		t.Errorf("HEAD: %v, want %v", got, want)
	}
	if got, want := get("PUT", "/unread", 10<<20, make([]byte, 10<<20)), (response{statuses: "413;"}); got != want {
		t.Errorf("unread: %v, want %v", got, want)
	}
	if got := get("GET", "/panic", 0, nil); !errors.Is(got.err, proxyerr.ConnClosed) {
		t.Errorf("aborted: %v, want a closed connection", got)
	}
}
