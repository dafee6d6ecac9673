// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import "strings"

// Proto is the protocol version of a message.
type Proto uint8

// The versions. The zero Proto is HTTP/1.1, so that a head made by a program
// need not name one.
const (
	HTTP11 Proto = iota
	HTTP10
	HTTP2
	HTTP3
)

// String returns, for example, "HTTP/1.1".
func (p Proto) String() string {
	return [...]string{"HTTP/1.1", "HTTP/1.0", "HTTP/2", "HTTP/3"}[p&3]
}

// UnknownLength is the Length of a body whose size is not known in advance:
// chunked, ended by the close of the connection, or an HTTP/2 stream without
// content-length.
const UnknownLength int64 = -1

// A Request is the head of a request.
type Request struct {
	// Method is a token, such as "GET". It is case-sensitive.
	Method string

	// Target is the request target as it goes on the wire: a path with an
	// optional query ("/a?b"), "*" for OPTIONS, or "host:port" for CONNECT.
	// A received absolute-form target ("http://host/a?b") is stored as its
	// path and query, and its authority in the Host field (RFC 9112 section
	// 3.2.2).
	Target string

	// Proto is the version with which the message was received. Writers use
	// the version of their connection.
	Proto Proto

	// Length is the size of the body in bytes, or UnknownLength. 0 means
	// that there is no body. Writers derive the framing of the message from
	// it and from nothing else: Content-Length and Transfer-Encoding in
	// Fields are what the client sent and are never forwarded as they are.
	Length int64

	Fields Fields
}

// Host returns the value of the Host field, or "". An HTTP/2 :authority is
// stored there too.
func (r *Request) Host() string { return r.Fields.Get("Host") }

// SetHost sets the Host field, as the first field if there was none.
func (r *Request) SetHost(host string) { r.Fields.SetFirst("Host", host) }

// Path returns the target without its query.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

// Query returns what follows the first "?" of the target, without it.
func (r *Request) Query() string {
	_, query, _ := strings.Cut(r.Target, "?")
	return query
}

// Idempotent reports whether sending the request twice has the same effect as
// sending it once (RFC 9110 section 9.2.2), so that it may be retried.
func (r *Request) Idempotent() bool {
	switch r.Method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// GRPC reports whether r is a gRPC call, by its content type.
func (r *Request) GRPC() bool {
	rest, ok := strings.CutPrefix(r.Fields.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// Reset empties r and keeps its memory for reuse.
func (r *Request) Reset() {
	r.Fields.Reset()
	*r = Request{Fields: r.Fields}
}

// CopyFrom makes r a copy of src. It reuses r's memory.
func (r *Request) CopyFrom(src *Request) {
	fields := r.Fields
	*r = *src
	r.Fields = fields
	r.Fields.CopyFrom(&src.Fields)
}

// Equal reports whether r and q are the same message: method, target, length
// and fields. The version may differ.
func (r *Request) Equal(q *Request) bool {
	return r.Method == q.Method && r.Target == q.Target && r.Length == q.Length && r.Fields.Equal(&q.Fields)
}

// A Response is the head of a response.
type Response struct {
	// Status is the status code, 100 to 999.
	Status int

	// Reason is the reason phrase as received. Empty means the standard
	// phrase of Status when written as HTTP/1.
	Reason string

	// Proto is the version with which the message was received.
	Proto Proto

	// Length is the size of the body in bytes, or UnknownLength. For a
	// response to HEAD and for 304 it is the size that the body would have
	// had, though none follows; see HasBody. Writers derive the framing from
	// it, as for a Request.
	Length int64

	Fields Fields
}

// HasBody reports whether a body follows r, a response to a request with the
// given method (RFC 9112 section 6.3). It is false for HEAD, 1xx, 204 and 304,
// and for a successful answer to CONNECT.
func (r *Response) HasBody(method string) bool {
	switch {
	case r.Status < 200, r.Status == 204, r.Status == 304, method == "HEAD":
		return false
	case method == "CONNECT" && r.Status < 300:
		return false
	}
	return true
}

// Informational reports whether r is a 1xx response: another follows.
func (r *Response) Informational() bool { return r.Status < 200 }

// Reset empties r and keeps its memory for reuse.
func (r *Response) Reset() {
	r.Fields.Reset()
	*r = Response{Fields: r.Fields}
}

// CopyFrom makes r a copy of src. It reuses r's memory.
func (r *Response) CopyFrom(src *Response) {
	fields := r.Fields
	*r = *src
	r.Fields = fields
	r.Fields.CopyFrom(&src.Fields)
}

// Equal reports whether r and q are the same message: status, length and
// fields. Version and reason phrase, which mean nothing, may differ.
func (r *Response) Equal(q *Response) bool {
	return r.Status == q.Status && r.Length == q.Length && r.Fields.Equal(&q.Fields)
}
