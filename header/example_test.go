// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package header_test

import (
	"fmt"
	"time"

	"github.com/belay-proxy/belay/header"
)

func ExampleFields() {
	var f header.Fields
	f.Add("Accept", "text/html")
	f.Add("X-Trace", "1")
	f.Add("x-trace", "2")
	f.Set("accept", "*/*") // keeps the place and the spelling
	f.SetFirst("Host", "example.com")
	fmt.Print(f.String())
	fmt.Println(f.Get("X-TRACE"))
	// Output:
	// Host: example.com
	// Accept: */*
	// X-Trace: 1
	// x-trace: 2
	// 1
}

func ExampleRequest() {
	req := header.Request{Method: "GET", Target: "/search?q=go"}
	req.SetHost("example.com")
	fmt.Println(req.Path(), req.Query(), req.Host(), req.Idempotent())
	// Output: /search q=go example.com true
}

func ExampleResponse_HasBody() {
	res := header.Response{Status: 200, Length: 12}
	fmt.Println(res.HasBody("GET"), res.HasBody("HEAD"))
	// Output: true false
}

func ExampleHasToken() {
	var f header.Fields
	f.Add("Connection", "keep-alive, Upgrade")
	fmt.Println(header.HasToken(&f, "connection", "upgrade"))
	// Output: true
}

func ExampleList() {
	var f header.Fields
	f.Add("Via", "1.1 a, 1.1 b")
	f.Add("Via", "1.0 c")
	for hop := range header.List(&f, "Via") {
		fmt.Println(hop)
	}
	// Output:
	// 1.1 a
	// 1.1 b
	// 1.0 c
}

func ExampleElements() {
	for elem := range header.Elements(`no-cache="Set-Cookie, Set-Cookie2", , max-age=5`) {
		fmt.Println(elem)
	}
	// Output:
	// no-cache="Set-Cookie, Set-Cookie2"
	// max-age=5
}

func ExampleParams() {
	for name, value := range header.Params(`for="[2001:db8::1]:4711"; proto=https`) {
		fmt.Println(name, value)
	}
	// Output:
	// for [2001:db8::1]:4711
	// proto https
}

func ExampleAppendQuoted() {
	fmt.Println(string(header.AppendQuoted([]byte("title="), `a "b"`)))
	// Output: title="a \"b\""
}

func ExamplePreferredCoding() {
	var f header.Fields
	f.Add("Accept-Encoding", "gzip;q=0.8, br, *;q=0")
	fmt.Println(header.PreferredCoding(&f, "zstd", "gzip", "br"))
	// Output: br true
}

func ExamplePreferredType() {
	var f header.Fields
	f.Add("Accept", "text/*;q=0.5, application/json")
	fmt.Println(header.PreferredType(&f, "text/html", "application/json"))
	// Output: application/json true
}

func ExampleParseDate() {
	t, ok := header.ParseDate("Sunday, 06-Nov-94 08:49:37 GMT")
	fmt.Println(t.Format(time.RFC3339), ok)
	// Output: 1994-11-06T08:49:37Z true
}

func ExampleDate() {
	fmt.Println(header.Date(time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)))
	// Output: Sun, 06 Nov 1994 08:49:37 GMT
}

func ExampleParseLength() {
	fmt.Println(header.ParseLength("1024"))
	fmt.Println(header.ParseLength("+5"))
	// Output:
	// 1024 true
	// 0 false
}

func ExampleValidHost() {
	fmt.Println(header.ValidHost("[::1]:8080"), header.ValidHost("user@example.com"))
	// Output: true false
}
