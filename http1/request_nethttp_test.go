// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

// A reading is what a parser has made of the first request in some bytes.
type reading struct {
	method, target, host string
	length               int64
	body                 string
	rest                 string // what is behind it
}

// readOurs reads a request as a ServerConn does. ok is false if it is refused
// or not whole.
func readOurs(in []byte) (r reading, req header.Request, ok bool) {
	var fr framing
	n, err := consumeRequestHead(in, 0, &defaultLimits, &req, &fr)
	if n == 0 || err != nil {
		return r, req, false
	}
	kind := bodyFixed
	if req.Length < 0 {
		kind = bodyChunked
	}
	d := decode(kind, req.Length, Limits{}, pieces(in[n:], 0))
	return reading{req.Method, req.Target, req.Host(), req.Length, d.body, d.rest}, req, d.class == ""
}

// readTheirs reads a request with the standard library.
func readTheirs(in []byte) (r reading, err error) {
	br := bufio.NewReader(bytes.NewReader(in))
	req, err := http.ReadRequest(br)
	if err != nil {
		return r, err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return r, err
	}
	rest, err := io.ReadAll(br)
	return reading{req.Method, req.RequestURI, req.Host, req.ContentLength, string(body), string(rest)}, err
}

// exceptions are the requests that we accept and the standard library does
// not, each with the reason.
var exceptions = []struct {
	why string
	is  func(req *header.Request, err error) bool
}{
	{
		// net/http decodes the target while it reads the head. RFC 9112 section
		// 3.2 would like a 400 here (SHOULD), but the escape changes neither
		// where the target ends nor the framing, and such links exist: it is
		// passed on as it is.
		"percent sign that starts no escape",
		func(req *header.Request, err error) bool {
			_, ok := errors.AsType[url.EscapeError](err)
			return ok && strings.Contains(req.Path(), "%")
		},
	},
	{
		// A sender must not announce such trailers. A recipient may ignore
		// the announcement, as RFC 9110 section 6.6.2 gives it no force; the
		// trailers themselves are dropped when they come.
		"Trailer field that names framing",
		func(req *header.Request, err error) bool {
			return req.Length < 0 && req.Fields.Has("Trailer") && strings.Contains(err.Error(), "bad trailer key")
		},
	},
}

// same reports whether two readings agree.
func same(ours, theirs reading) bool {
	target := theirs.target
	if _, path, ok := strings.Cut(target, "://"); ok && target[0] != '/' {
		// In absolute-form. The authority is compared as host.
		if i := strings.IndexAny(path, "/?"); i >= 0 {
			target = path[i:]
		} else if target = "/"; ours.method == "OPTIONS" {
			target = "*"
		}
		if target[0] == '?' {
			target = "/" + target
		}
	}
	theirs.target = target
	return ours == theirs
}

// FuzzDifferentialNetHTTP holds our reading of a request against that of
// net/http. We may be stricter, never laxer, and where both read a message
// they must read the same: where two servers disagree, requests are smuggled.
func FuzzDifferentialNetHTTP(f *testing.F) {
	for _, seed := range requestSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4<<10 {
			return // net/http limits the lines of a chunked body to 4 KiB
		}
		ours, req, ok := readOurs(in)
		if !ok {
			return
		}
		// net/http's server, too, skips an empty line before a request (RFC
		// 9112 section 2.2), but outside ReadRequest.
		theirs, err := readTheirs(bytes.TrimPrefix(in, []byte(crlf)))
		if err != nil {
			for _, e := range exceptions {
				if e.is(&req, err) {
					return
				}
			}
			t.Fatalf("%q is accepted as %+v, but net/http says: %v", in, ours, err)
		}
		if !same(ours, theirs) {
			t.Errorf("%q is read as\n%+v, but by net/http as\n%+v", in, ours, theirs)
		}
	})
}
