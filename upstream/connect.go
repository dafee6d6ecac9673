// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// errProxyRefused is the cause of a CONNECT that was not answered with 2xx.
var errProxyRefused = errors.New("no tunnel through proxy")

// maxProxyHead limits the answer to CONNECT, in bytes.
const maxProxyHead = 16 << 10

// connectThrough asks the proxy at the other end of nc for a tunnel to p. It
// closes nc if it fails or ctx ends before it is done. p has been validated.
func connectThrough(ctx context.Context, nc net.Conn, p *Peer) (_ net.Conn, err error) {
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			nc.Close()
		}
	}()
	b := []byte("CONNECT " + p.Addr + " HTTP/1.1\r\nHost: " + p.Addr + "\r\n")
	for i := 0; i+1 < len(p.Proxy.Header); i += 2 {
		b = append(b, p.Proxy.Header[i]+": "+p.Proxy.Header[i+1]+"\r\n"...)
	}
	if _, err := nc.Write(append(b, "\r\n"...)); err != nil {
		return nil, fmt.Errorf("%w: ask: %w", errProxyRefused, err)
	}
	if err := readProxyAnswer(nc); err != nil {
		return nil, fmt.Errorf("%w: %w", errProxyRefused, err)
	}
	return nc, nil
}

// readProxyAnswer reads the head of the answer byte by byte, so as not to
// take anything of what the peer says first: a 2xx has no body, whatever its
// fields say (RFC 9110 section 9.3.6).
func readProxyAnswer(r io.Reader) error {
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var c [1]byte
		if _, err := io.ReadFull(r, c[:]); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if head = append(head, c[0]); len(head) > maxProxyHead {
			return fmt.Errorf("answer has a head of more than %d bytes", maxProxyHead)
		}
	}
	line, _, _ := strings.Cut(string(head), "\r\n")
	if !isSuccess(line) {
		return fmt.Errorf("it answered %q", line)
	}
	return nil
}

// isSuccess reports whether a status line says 2xx.
//
//	status-line = HTTP-version SP status-code SP [ reason-phrase ]
func isSuccess(line string) bool {
	rest, ok := strings.CutPrefix(line, "HTTP/1.")
	if !ok || len(rest) < len("1 200") || rest[0] != '0' && rest[0] != '1' {
		return false
	}
	status, end := rest[1:5], rest[5:] // some leave out the last SP with the reason
	return status[:2] == " 2" && isDigit(status[2]) && isDigit(status[3]) && (end == "" || end[0] == ' ')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
