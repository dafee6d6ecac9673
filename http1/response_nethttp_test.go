// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/belay-proxy/belay/header"
)

// An answerRead is what a parser has made of the first response in some bytes.
type answerRead struct {
	status int
	proto  header.Proto
	body   string
	rest   string // what is behind it
}

// An answerHead is what an exception is decided by.
type answerHead struct {
	text []byte
	kind bodyKind
}

// readOurAnswer reads a response as a ClientConn does. ok is false if it is
// refused or not whole.
func readOurAnswer(in []byte, method string) (r answerRead, head answerHead, ok bool) {
	res, kind, n, err := parseResponse(string(in), method, false)
	if n == 0 || err != nil {
		return r, head, false
	}
	d := decode(kind, res.Length, Limits{}, pieces(in[n:], 0))
	return answerRead{res.Status, res.Proto, d.body, d.rest}, answerHead{in[:n], kind}, d.class == ""
}

// readTheirAnswer reads a response with the standard library.
func readTheirAnswer(in []byte, method string) (r answerRead, err error) {
	br := bufio.NewReader(bytes.NewReader(in))
	res, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		return r, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return r, err
	}
	proto := header.HTTP11
	if res.ProtoMinor == 0 {
		proto = header.HTTP10
	}
	rest, err := io.ReadAll(br)
	return answerRead{res.StatusCode, proto, string(body), string(rest)}, err
}

var spaceBeforeColon = regexp.MustCompile(`\r\n[!-9;-~]+[ \t]+:`)

// answerExceptions are the responses that we accept and the standard library
// does not, each with the reason.
var answerExceptions = []struct {
	why string
	is  func(head answerHead, err error) bool
}{
	{
		// RFC 9112 section 5.1: a proxy MUST remove such white space from a
		// response before it passes it on, and we do.
		"white space between name and colon",
		func(head answerHead, err error) bool {
			return strings.Contains(err.Error(), "malformed MIME header") && spaceBeforeColon.Match(head.text)
		},
	},
	{
		// RFC 9112 section 6.3: no body follows such a response, whatever its
		// fields say. They tell what another response would have had.
		"other transfer coding where no body follows",
		func(head answerHead, err error) bool {
			return head.kind == bodyNone && strings.Contains(err.Error(), "transfer encoding")
		},
	},
	{
		// RFC 9110 section 6.6.2 gives the announcement no force; the trailers
		// themselves are dropped when they come.
		"Trailer field that names framing",
		func(head answerHead, err error) bool {
			return strings.Contains(err.Error(), "bad trailer key") && bytes.Contains(bytes.ToLower(head.text), []byte("\r\ntrailer"))
		},
	},
}

var responseSeeds = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nSum: 1\r\n\r\nrest",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.0 200 OK\r\n\r\nuntil the end",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\nrest",
	"HTTP/1.1 200 OK\r\nContent-Length : 5\r\nA: \xff\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 999 \xe9\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}

// FuzzDifferentialResponse holds our reading of a response against that of
// net/http, as FuzzDifferentialNetHTTP does for requests.

func FuzzDifferentialResponse(f *testing.F) {
	for _, seed := range responseSeeds {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, isHead bool) {
		if len(in) > 4<<10 {
			return // net/http limits the lines of a chunked body to 4 KiB
		}
		method := "GET"
		if isHead {
			method = "HEAD"
		}
		ours, head, ok := readOurAnswer(in, method)
		if !ok {
			return
		}
		theirs, err := readTheirAnswer(in, method)
		if err != nil {
			for _, e := range answerExceptions {
				if e.is(head, err) {
					return
				}
			}
			t.Fatalf("%q is accepted as %+v, but net/http says: %v", in, ours, err)
		}
		// Space between a name and its colon is to be removed from a response (RFC
		// 9112 section 5.1). net/http takes it for a part of the name.
		if ours != theirs && !spaceBeforeColon.Match(in) {
			t.Errorf("%q to %s is read as\n%+v, but by net/http as\n%+v", in, method, ours, theirs)
		}
	})
}
