// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package websocket

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http2"
	"github.com/belay-proxy/belay/proxy"
	"github.com/belay-proxy/belay/proxytest"
	"github.com/belay-proxy/belay/test/internal/modes"
	"github.com/belay-proxy/belay/test/internal/pki"
	"github.com/belay-proxy/belay/upstream"
)

// patience bounds every wait of these tests. Nothing takes as long.
const patience = 20 * time.Second

type (
	none  = struct{}
	hooks = proxy.Hooks[none]
)

// end is one end of a tunnel: the bytes of a WebSocket.
type end interface {
	io.ReadWriter
	CloseWrite() error
	Reset()
}

// h1End is an end over HTTP/1.1, after the head.
type h1End struct {
	net.Conn // a *net.TCPConn or a *tls.Conn
	br       *bufio.Reader
}

func (e *h1End) Read(p []byte) (int, error) { return e.br.Read(p) }
func (e *h1End) CloseWrite() error          { return e.Conn.(interface{ CloseWrite() error }).CloseWrite() }
func (e *h1End) Reset()                     { proxytest.Reset(e.Conn) }

// h2Stream is what the streams of either role have in common.
type h2Stream interface {
	ReadBody() (piece []byte, last bool, err error)
	WriteBody(piece []byte, last bool) error
	Flush() error
	Kill()
}

// h2End is an end over HTTP/2.
type h2End struct {
	h2Stream
	unread []byte
	last   bool
}

func (e *h2End) Read(p []byte) (int, error) {
	for len(e.unread) == 0 {
		if e.last {
			return 0, io.EOF
		}
		var err error
		if e.unread, e.last, err = e.ReadBody(); err != nil {
			return 0, err
		}
	}
	n := copy(p, e.unread)
	e.unread = e.unread[n:]
	return n, nil
}

func (e *h2End) Write(p []byte) (int, error) {
	if err := e.WriteBody(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (e *h2End) CloseWrite() error { return e.WriteBody(nil, true) }
func (e *h2End) Reset()            { e.Kill() }

// server is what a test wants of the server.
type server struct {
	refuse      int    // status instead of switching; 0 is to switch
	wrongAccept bool   // HTTP/1: answer with another Sec-WebSocket-Accept
	greeting    string // sent in one piece with the head
	serve       func(end)

	// socketBuffer, if not 0, is the size of all socket buffers, in bytes.
	socketBuffer int
}

// start starts the server and returns a peer that reaches it.
func (s *server) start(t testing.TB, p modes.Protocol) *upstream.Peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	serveConn := s.serveH1
	if p.H2 {
		serveConn = s.serveH2
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = nc.Close() })
			s.narrow(nc)
			go serveConn(p.Server(t, nc))
		}
	}()
	return p.PeerAt(t, l.Addr().String())
}

// narrow gives the socket of a connection small buffers, if the test wants
// that.
func (s *server) narrow(nc net.Conn) {
	if s.socketBuffer > 0 {
		narrow(nc, s.socketBuffer)
	}
}

// narrow sets the buffers of a socket, of which the system makes twice as much.
func narrow(nc net.Conn, size int) {
	_ = nc.(*net.TCPConn).SetReadBuffer(size)
	_ = nc.(*net.TCPConn).SetWriteBuffer(size)
}

// narrowHandler serves connections with small buffers.
type narrowHandler struct {
	proxytest.Handler
	size int
}

func (h narrowHandler) ServeConn(c net.Conn) {
	narrow(c, h.size)
	h.Handler.ServeConn(c)
}

func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// serveH1 takes one connection with one WebSocket.
func (s *server) serveH1(nc net.Conn) {
	defer nc.Close()
	br := bufio.NewReader(nc)
	req, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	key, err := base64.StdEncoding.DecodeString(req.Header.Get("Sec-WebSocket-Key"))
	ok := err == nil && len(key) == 16 && req.Method == "GET" && req.Header.Get("Upgrade") == "websocket" &&
		req.Header.Get("Connection") == "Upgrade" && req.Header.Get("Sec-WebSocket-Version") == "13"
	switch {
	case !ok:
		_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		return
	case s.refuse != 0:
		_, _ = fmt.Fprintf(nc, "HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno", s.refuse)
		return
	}
	proof := accept(req.Header.Get("Sec-WebSocket-Key"))
	if s.wrongAccept {
		proof = accept("another key")
	}
	_, _ = fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n%s", proof, s.greeting)
	s.serve(&h1End{nc, br})
}

// serveH2 takes a connection with any number of WebSockets.
func (s *server) serveH2(nc net.Conn) {
	cfg := http2.Config{ReadTimeout: -1, WriteTimeout: -1}.WithDefaults()
	http2.NewServerConn(nc, &cfg, nil, func(st *http2.ServerStream) {
		req := st.Request()
		res := header.Response{Status: 200, Length: header.UnknownLength}
		switch {
		case req.Method != "CONNECT" || st.Upgrade() != "websocket" || req.Fields.Has("Sec-WebSocket-Key") ||
			req.Fields.Has("Upgrade") || req.Fields.Get("Sec-WebSocket-Version") != "13":
			res.Status = 400
		case s.refuse != 0:
			res.Status = s.refuse
		}
		if res.Status != 200 {
			res.Length = 2
			_ = st.WriteHead(&res, false)
			_ = st.WriteBody([]byte("no"), true)
			return
		}
		res.Fields.Set("Sec-WebSocket-Protocol", "chat")
		st.StartTunnelReads(-1)
		if st.WriteHead(&res, false) != nil || st.StartTunnelWrites(-1) != nil || st.WriteBody([]byte(s.greeting), false) != nil {
			return
		}
		s.serve(&h2End{h2Stream: st})
	}).Serve()
}

// rig is a proxy under test.
type rig struct {
	t      testing.TB
	mode   modes.Mode
	addr   string
	socket int // size of the socket buffers, 0 to leave them alone
	logged chan error
}

func newRig(t testing.TB, m modes.Mode, cfg proxy.Config, s *server) *rig {
	t.Helper()
	peer := s.start(t, m.Up)
	peer.RecvBuffer, peer.SendBuffer = s.socketBuffer, s.socketBuffer
	r := &rig{t: t, mode: m, logged: make(chan error, 100), socket: s.socketBuffer}
	cfg.Downstream.H2C = true
	cfg.Logger = slog.New(slog.DiscardHandler)
	p, err := proxy.New(cfg, hooks{
		UpstreamPeer: func(*proxy.Session, *none) (*upstream.Peer, error) { return peer, nil },
		Log:          func(_ *proxy.Session, _ *none, err error) { r.logged <- err },
	})
	must(t, err)
	t.Cleanup(p.Connector().Close)
	var h proxytest.Handler = p
	if m.Down.TLS {
		h = pki.Secure(t, h)
	}
	if s.socketBuffer > 0 {
		h = narrowHandler{h, s.socketBuffer}
	}
	r.addr = proxytest.Listen(t, h)
	return r
}

// errRefused is a handshake that was answered with another status.
type errRefused struct {
	status int
	body   string
}

func (e *errRefused) Error() string { return fmt.Sprintf("status %d, body %q", e.status, e.body) }

// open opens a WebSocket. early is sent without waiting for the answer.
func (r *rig) open(early string) (end, error) {
	if r.mode.Down.H2 {
		return r.openH2(early)
	}
	return r.openH1(early)
}

// dial is open where it has to succeed.
func (r *rig) dial() end {
	r.t.Helper()
	e, err := r.open("")
	must(r.t, err)
	return e
}

// connect makes a connection to the proxy.
func (r *rig) connect() (net.Conn, error) {
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { _ = nc.Close() })
	if r.socket > 0 {
		narrow(nc, r.socket)
	}
	return r.mode.Down.Client(r.t, nc), nil
}

func (r *rig) openH1(early string) (end, error) {
	nc, err := r.connect()
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(2 * patience))
	const key = "dGhlIHNhbXBsZSBub25jZQ=="
	_, err = io.WriteString(nc, "GET /chat HTTP/1.1\r\nHost: origin.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+key+"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"+early)
	if err != nil {
		return nil, err
	}
	br := bufio.NewReader(nc)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != 101 {
		body, _ := io.ReadAll(res.Body)
		return nil, &errRefused{res.StatusCode, string(body)}
	}
	h := res.Header
	if h.Get("Sec-WebSocket-Accept") != accept(key) || h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" || h.Get("Sec-WebSocket-Protocol") != "chat" {
		return nil, fmt.Errorf("101 with %v", h)
	}
	return &h1End{nc, br}, nil
}

func (r *rig) openH2(early string) (end, error) {
	nc, err := r.connect()
	if err != nil {
		return nil, err
	}
	cfg := http2.Config{}.WithDefaults()
	c := http2.NewClientConn(nc, &cfg, r.mode.Down.Scheme())
	st := c.NewStream(nil, 2*patience, 2*patience)
	head := header.Request{Method: "CONNECT", Target: "/chat", Length: header.UnknownLength}
	head.SetHost("origin.test")
	head.Fields.Set("Sec-WebSocket-Version", "13")
	head.Fields.Set("Sec-WebSocket-Protocol", "chat")
	var res header.Response
	err = errors.Join(st.WriteHead(&head, "websocket", false, false), st.Flush())
	if err == nil && early != "" {
		err = st.WriteBody([]byte(early), false)
	}
	if err == nil {
		err = st.ReadHead(&res)
	}
	if err != nil {
		return nil, err
	}
	e := &h2End{h2Stream: st}
	if res.Status != 200 {
		body, _ := io.ReadAll(e)
		return nil, &errRefused{res.Status, string(body)}
	}
	if res.Fields.Has("Sec-WebSocket-Accept") || res.Fields.Has("Upgrade") || res.Fields.Get("Sec-WebSocket-Protocol") != "chat" {
		return nil, fmt.Errorf("200 with %v", res.Fields.String())
	}
	st.StartTunnelReads(2 * patience)
	st.StartTunnelWrites(2 * patience)
	return e, nil
}

// outcome waits until a request has been logged.
func (r *rig) outcome() error {
	r.t.Helper()
	return receive(r.t, "Log", r.logged)
}

func receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
