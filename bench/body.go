// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// filler is the start of every body: a byte is told by its position alone. Its
// length is a whole number of periods.
var filler = func() []byte {
	const period = 26
	b := make([]byte, 10_000*period)
	for i := range b {
		b[i] = 'a' + byte(i%period)
	}
	return b
}()

// bodyStart returns head and the first bytes of a body of size bytes, to be
// sent at once; writeRest sends the others.
func bodyStart(head []byte, size int64) []byte {
	return slices.Concat(head, filler[:min(size, firstPiece)])
}

const firstPiece = 64 << 10

// writeRest writes what bodyStart leaves of a body.
func writeRest(w io.Writer, size int64) error {
	for at := int64(firstPiece); at < size; {
		from := at % int64(len(filler))
		n := min(size-at, int64(len(filler))-from)
		if _, err := w.Write(filler[from : from+n]); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// A bodyChecker is an io.Writer that returns an error unless the bytes written
// to it are those of a body.
type bodyChecker struct{ at int64 }

func (c *bodyChecker) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		want := filler[c.at%int64(len(filler)):]
		n := min(len(want), len(p)-done)
		if !bytes.Equal(p[done:done+n], want[:n]) {
			return done, fmt.Errorf("byte %d or one of the next %d of the body is wrong", c.at, n)
		}
		done += n
		c.at += int64(n)
	}
	return len(p), nil
}

// A bodyReader reads a body of left bytes.
type bodyReader struct{ at, left int64 }

func (r *bodyReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	from := r.at % int64(len(filler))
	n := int64(copy(p[:min(int64(len(p)), r.left)], filler[from:]))
	r.at, r.left = r.at+n, r.left-n
	return int(n), nil
}

// verifyBodies does one exchange with the bodies of s through the proxy at
// addr and returns an error unless every byte arrives, on both sides.
func verifyBodies(s *scenario, addr string) error {
	a := s.access()
	client, done := a.httpClient()
	defer done()
	method, body := "GET", io.Reader(http.NoBody)
	if s.post > 0 {
		method, body = "POST", &bodyReader{left: s.post}
	}
	req, err := http.NewRequest(method, a.scheme()+"://"+addr+checkTarget+strconv.FormatInt(s.response, 10), body)
	if err != nil {
		return err
	}
	req.Host, req.ContentLength = hostSent, s.post
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("verify bodies: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("verify bodies: status is %s", res.Status)
	}
	checker := new(bodyChecker)
	if _, err := io.Copy(checker, res.Body); err != nil {
		return fmt.Errorf("verify bodies: %w", err)
	}
	if checker.at != s.response {
		return fmt.Errorf("verify bodies: response has %d bytes, want %d", checker.at, s.response)
	}
	return nil
}
