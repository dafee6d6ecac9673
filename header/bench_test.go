// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header

import (
	"testing"
	"time"
)

// typical is a request head of a browser.
const typical = `Host: www.example.com
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-GB,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Connection: keep-alive
Cookie: a=1; b=2
Sec-Fetch-Dest: document
Sec-Fetch-Mode: navigate
Sec-Fetch-Site: none
`

func BenchmarkGet(b *testing.B) {
	f := fieldsOf(typical)
	for _, name := range []string{"Host", "connection", "Sec-Fetch-Site", "Not-There-Now"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = f.Get(name)
			}
		})
	}
}

func BenchmarkEqualName(b *testing.B) {
	for _, bm := range []struct{ name, a, b string }{
		{"same", "Content-Type", "Content-Type"},
		{"case", "Content-Type", "content-type"},
		{"first", "Xontent-Type", "content-type"},
		{"last", "Content-Typo", "content-type"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				_ = EqualName(bm.a, bm.b)
			}
		})
	}
}

func BenchmarkHasToken(b *testing.B) {
	f := fieldsOf(typical)
	b.ReportAllocs()
	for b.Loop() {
		_ = HasToken(f, "Connection", "close")
	}
}

func BenchmarkPreferredCoding(b *testing.B) {
	f := fieldsOf(typical)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = PreferredCoding(f, "zstd", "br", "gzip")
	}
}

func BenchmarkValidHost(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = ValidHost("www.example.com:8080")
	}
}

func BenchmarkDate(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		_ = Date(now)
	}
}

func BenchmarkAppendDate(b *testing.B) {
	now := time.Now()
	buf := make([]byte, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendDate(buf[:0], now)
	}
}

func BenchmarkParseDate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = ParseDate("Sun, 06 Nov 1994 08:49:37 GMT")
	}
}

// TestAllocs holds what reading a head may allocate: nothing.
func TestAllocs(t *testing.T) {
	f := fieldsOf(typical + `Forwarded: for="[::1]:80";proto=http` + "\n")
	var c Fields
	c.CopyFrom(f)
	buf := make([]byte, 0, 64)
	now := time.Now()
	for name, do := range map[string]func(){
		"Get":       func() { _ = f.Get("sec-fetch-site") },
		"Lookup":    func() { _, _ = f.Lookup("Not-There") },
		"EqualName": func() { _ = EqualName("Content-Type", "content-type") },
		"All": func() {
			for range f.All() {
				continue
			}
		},
		"Values": func() {
			for range f.Values("Accept") {
				continue
			}
		},
		"edit": func() {
			c.CopyFrom(f)
			c.Set("Host", "b.test")
			c.Del("Cookie")
			c.SetFirst("First", "1")
			c.Reset()
		},
		"HasToken": func() { _ = HasToken(f, "Connection", "close") },
		"List": func() {
			for range List(f, "Accept") {
				continue
			}
		},
		"Param": func() {
			v, ok := Param(f.Get("Forwarded"), "for")
			if !ok || v != "[::1]:80" {
				t.Errorf("Param(for) = %q, %v", v, ok)
			}
		},
		"PreferredCoding": func() { _, _ = PreferredCoding(f, "br", "gzip") },
		"PreferredType":   func() { _, _ = PreferredType(f, "text/html", "application/json") },
		"ParseDate":       func() { _, _ = ParseDate("Sunday, 06-Nov-94 08:49:37 GMT") },
		"AppendDate":      func() { buf = AppendDate(buf[:0], now) },
		"AppendQuoted":    func() { buf = AppendQuoted(buf[:0], `a "b"`) },
		"Date":            func() { _ = Date(now) },
		"ParseLength":     func() { _, _ = ParseLength("1234567") },
		"ValidHost":       func() { _ = ValidHost("a.test:80") && ValidHost("[::1]:80") },
	} {
		if got := testing.AllocsPerRun(100, do); got != 0 {
			t.Errorf("%s: %v allocations, want none", name, got)
		}
	}
}
