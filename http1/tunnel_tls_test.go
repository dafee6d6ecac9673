// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/netio"
)

// tlsPair returns the two ends of a TLS connection, ours on a Transport, and the
// client's end of the socket below.
func tlsPair(t *testing.T) (client *tls.Conn, server, socket net.Conn) {
	t.Helper()
	socket, nc := tcpPair(t)
	origin := httptest.NewTLSServer(nil)
	cfg := origin.TLS.Clone()
	cfg.NextProtos = nil
	origin.Close()
	client = tls.Client(socket, &tls.Config{InsecureSkipVerify: true})
	ours := tls.Server(netio.NewTransport(nc), cfg)
	shaken := make(chan error, 1)
	go func() { shaken <- ours.Handshake() }()
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return client, ours, socket
}

// A tunnel over TLS, whose client ends its direction together with the last
// bytes, with a goodbye and without.
func TestReadTunnelTLS(t *testing.T) {
	t.Parallel()
	for range 10 {
		client, server, socket := tlsPair(t)
		errs := make(chan error, 1)
		_, done := serve(t, server, ServerConfig{}, echoTunnel(errs, -1))
		br := openTunnel(t, client, "early")
		wantBytes(t, br, "early")
		for _, s := range []string{"a", "message", string(bytes.Repeat([]byte("much "), 100_000))} {
			go io.WriteString(client, s)
			wantBytes(t, br, s)
		}
		io.WriteString(client, "last")
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		socket.(*net.TCPConn).CloseWrite()
		if rest := recvAll(t, br); rest != "last" {
			t.Errorf("after the end: %q", rest)
		}
		waitFor(t, "Serve after the tunnel", done)
		if err := <-errs; err != nil {
			t.Errorf("ReadTunnel = %v", err)
		}
	}
}

// A reader that has to answer, here with an alert, while the tunnel begins.
func TestStartTunnelWritesTLS(t *testing.T) {
	t.Parallel()
	client, server, socket := tlsPair(t)
	read := make(chan error, 1)
	_, done := serve(t, server, ServerConfig{}, func(s *ServerStream) {
		res := header.Response{Status: 101}
		res.Fields.Add("Upgrade", "echo")
		err := s.WriteHead(&res, false)
		go func() {
			_, _, err := s.ReadBody()
			read <- err
		}()
		if err = errors.Join(err, s.StartTunnelWrites(patience)); err != nil {
			t.Error(err)
		}
		<-read
	})
	if _, err := io.WriteString(client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	recvHead(t, bufio.NewReader(client))
	io.WriteString(socket, "\x17\x03\x03\x00\x20"+"0123456789012345678901234567890123456789")
	waitFor(t, "Serve after the tunnel", done)
}
