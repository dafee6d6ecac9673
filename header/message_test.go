// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import "testing"

func TestProtoString(t *testing.T) {
	t.Parallel()
	var zero Proto
	for p, want := range map[Proto]string{zero: "HTTP/1.1", HTTP10: "HTTP/1.0", HTTP2: "HTTP/2", HTTP3: "HTTP/3"} {
		if got := p.String(); got != want {
			t.Errorf("Proto(%d) = %q, want %q", p, got, want)
		}
	}
}

func TestRequestTarget(t *testing.T) {
	t.Parallel()
	tests := []struct{ target, path, query string }{
		{"/", "/", ""},
		{"/a?b", "/a", "b"},
		{"/a?b?c", "/a", "b?c"},
		{"/a?", "/a", ""},
		{"?b", "", "b"},
		{"*", "*", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		r := Request{Target: tt.target}
		if r.Path() != tt.path || r.Query() != tt.query {
			t.Errorf("%q: path %q, query %q, want %q, %q", tt.target, r.Path(), r.Query(), tt.path, tt.query)
		}
	}
}

func TestRequestHost(t *testing.T) {
	t.Parallel()
	var r Request
	r.Fields.Add("A", "1")
	if got := r.Host(); got != "" {
		t.Errorf("Host = %q, want none", got)
	}
	r.SetHost("a.test")
	r.SetHost("b.test")
	if got, want := r.Fields.String(), "Host: b.test\nA: 1\n"; got != want || r.Host() != "b.test" {
		t.Errorf("Host = %q, fields\n%swant\n%s", r.Host(), got, want)
	}
}

func TestIdempotent(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{
		"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "PUT": true, "DELETE": true,
		"POST": false, "PATCH": false, "CONNECT": false, "get": false, "": false,
	} {
		if got := (&Request{Method: method}).Idempotent(); got != want {
			t.Errorf("%q: Idempotent = %v, want %v", method, got, want)
		}
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc; charset=utf-8": true,
		"": false, "application/grpc-web": false, "application/grpcs": false, "text/plain": false,
	} {
		var r Request
		r.Fields.Add("content-type", contentType)
		if got := r.GRPC(); got != want {
			t.Errorf("%q: GRPC = %v, want %v", contentType, got, want)
		}
	}
}

func TestHasBody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method string
		status int
		want   bool
	}{
		{"GET", 200, true}, {"HEAD", 200, false}, {"POST", 404, true},
		{"GET", 100, false}, {"GET", 101, false}, {"GET", 199, false}, {"GET", 204, false}, {"GET", 304, false},
		{"GET", 205, true}, {"GET", 999, true},
		{"CONNECT", 200, false}, {"CONNECT", 299, false}, {"CONNECT", 300, true}, {"CONNECT", 407, true},
	}
	for _, tt := range tests {
		r := Response{Status: tt.status}
		if got := r.HasBody(tt.method); got != tt.want {
			t.Errorf("%s %d: HasBody = %v, want %v", tt.method, tt.status, got, tt.want)
		}
		if got, want := r.Informational(), tt.status < 200; got != want {
			t.Errorf("%d: Informational = %v, want %v", tt.status, got, want)
		}
	}
}

func TestRequestCopy(t *testing.T) {
	t.Parallel()
	src := Request{Method: "PUT", Target: "/a", Proto: HTTP2, Length: 7}
	src.Fields.Add("Host", "a.test")
	var r Request
	r.Fields.Add("Old", "1")
	r.Fields.Add("Older", "2")
	r.CopyFrom(&src)
	if !r.Equal(&src) || r.Proto != HTTP2 {
		t.Errorf("copy is %+v, want %+v", r, src)
	}
	r.CopyFrom(&r)
	if !r.Equal(&src) {
		t.Errorf("copy of itself is %+v, want %+v", r, src)
	}
	r.Fields.Set("Host", "b.test")
	if src.Host() != "a.test" || r.Equal(&src) {
		t.Errorf("source has host %q after a change of the copy, want a.test", src.Host())
	}
	for _, change := range []func(*Request){
		func(r *Request) { r.Method = "GET" },
		func(r *Request) { r.Target = "/" },
		func(r *Request) { r.Length = UnknownLength },
	} {
		r.CopyFrom(&src)
		if change(&r); r.Equal(&src) {
			t.Errorf("%+v equals %+v", r, src)
		}
	}
	r.Reset()
	if !r.Equal(&Request{}) || r.Proto != HTTP11 || cap(r.Fields.list) == 0 {
		t.Errorf("after Reset: %+v with memory for %d fields, want the zero Request and its memory", r, cap(r.Fields.list))
	}
}

func TestResponseCopy(t *testing.T) {
	t.Parallel()
	src := Response{Status: 404, Reason: "Gone fishing", Proto: HTTP10, Length: UnknownLength}
	src.Fields.Add("Via", "x")
	var r Response
	r.Fields.Add("Old", "1")
	r.CopyFrom(&src)
	if !r.Equal(&src) || r.Reason != src.Reason || r.Proto != src.Proto {
		t.Errorf("copy is %+v, want %+v", r, src)
	}
	r.Fields.Del("Via")
	if !src.Fields.Has("Via") || r.Equal(&src) {
		t.Error("a change of the copy reached the source")
	}
	r.CopyFrom(&src)
	if r.Reason, r.Proto = "", HTTP3; !r.Equal(&src) {
		t.Error("reason and version count, want them ignored")
	}
	if r.Status = 405; r.Equal(&src) {
		t.Error("status does not count")
	}
	r.Reset()
	if !r.Equal(&Response{}) || r.Reason != "" || cap(r.Fields.list) == 0 {
		t.Errorf("after Reset: %+v, want the zero Response and its memory", r)
	}
}
