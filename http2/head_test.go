// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
)

// newHeadReader returns a reader of heads, and what decodes blocks into it.
func newHeadReader(cfg Config, response bool) *conn {
	cfg = cfg.WithDefaults()
	c := &conn{cfg: &cfg, heads: headReader{cfg: &cfg, response: response}}
	c.dec = hpack.NewDecoder(maxTableSize, c.emit)
	c.dec.SetMaxStringLength(2 * cfg.maxBlock())
	return c
}

// readRequest decodes a block and returns the request that it is and why it is
// malformed, "" if it is not.
func (c *conn) readRequest(block []byte, ended bool) (req header.Request, why string, err error) {
	c.heads.start(&req.Fields)
	if err := c.decode(block); err != nil {
		return req, "", err
	}
	if c.heads.tooLarge {
		return req, "too large", nil
	}
	return req, c.heads.finishRequest(&req, ended), nil
}

func TestReadRequest(t *testing.T) {
	t.Parallel()
	const get = ":method=GET|:scheme=http|:path=/|:authority=h"
	tests := []struct {
		fields string // separated by |
		want   string // "method target length fields", or why it is malformed
	}{
		{get, "GET / 0 Host: h"},
		{get + "|a=b|a=c", "GET / 0 Host: h|a: b|a: c"},
		{":path=/a?b=c&d|:authority=example.com:81|:method=OPTIONS|:scheme=https", "OPTIONS /a?b=c&d 0 Host: example.com:81"},
		{":method=OPTIONS|:scheme=http|:path=*|:authority=h", "OPTIONS * 0 Host: h"},
		{":method=GET|:scheme=http|:path=/|host=h", "GET / 0 Host: h"},
		{get + "|host=h", "GET / 0 Host: h"},
		{get + "|cookie=a=b|x=y|cookie=c=d", "GET / 0 Host: h|x: y|cookie: a=b; c=d"},
		{get + "|te=trailers", "GET / 0 Host: h|te: trailers"},
		{get + "|content-length=0", "GET / 0 Host: h|content-length: 0"},
		{":method=CONNECT|:authority=h:443", "CONNECT h:443 0 Host: h:443"},
		{":method=CONNECT|:scheme=https|:path=/chat|:authority=h|:protocol=websocket", "CONNECT /chat 0 Host: h"},

		{"", "invalid method"},
		{":method=|:scheme=http|:path=/|:authority=h", "invalid method"},
		{":method=GE T|:scheme=http|:path=/|:authority=h", "invalid method"},
		{":method=GET|:path=/|:authority=h", "missing pseudo-header field"},
		{":method=GET|:scheme=http|:authority=h", "missing pseudo-header field"},
		{":method=GET|:scheme=ftp|:path=/|:authority=h", "invalid :path or :scheme"},
		{":method=GET|:scheme=http|:path=|:authority=h", "invalid :path or :scheme"},
		{":method=GET|:scheme=http|:path=*|:authority=h", "invalid :path or :scheme"},
		{":method=GET|:scheme=http|:path=a|:authority=h", "invalid :path or :scheme"},
		{":method=GET|:scheme=http|:path=/ HTTP/1.1\r\nX: y|:authority=h", "invalid :path or :scheme"},
		{":method=GET|:scheme=http|:path=/#a|:authority=h", "invalid :path or :scheme"},
		{":method=GET|:scheme=http|:path=http://h/|:authority=h", "invalid :path or :scheme"},
		{":method=GET|:scheme=http|:path=/", "invalid authority"},
		{":method=GET|:scheme=http|:path=/|:authority=", "invalid authority"},
		{":method=GET|:scheme=http|:path=/|:authority=|host=h", "invalid authority"},
		{":method=GET|:scheme=http|:path=/|:authority=u@h", "invalid authority"},
		{get + "|host=other", "invalid authority"},
		{get + "|host=h|host=h", "invalid authority"},
		{get + "|:path=/", "misplaced pseudo-header field"},
		{get + "|a=b|:x=y", "pseudo-header field out of place"},
		{":path=/|" + get, "misplaced pseudo-header field"},
		{get + "|:status=200", "misplaced pseudo-header field"},
		{":status=200|" + get, "misplaced pseudo-header field"},
		{":other=x|" + get, "unknown pseudo-header field"},
		{":protocol=websocket|" + get, "missing pseudo-header field"},
		{":method=CONNECT|:scheme=https|:path=/|:authority=h", "malformed CONNECT"},
		{":method=CONNECT|:authority=[::1]:443", "CONNECT [::1]:443 0 Host: [::1]:443"},
		{":method=CONNECT|:authority=", "malformed CONNECT"},
		{":method=CONNECT|:authority=h", "malformed CONNECT"},
		{":method=CONNECT|:authority=h:", "malformed CONNECT"},
		{":method=CONNECT|:authority=[::1]", "malformed CONNECT"},
		{":method=CONNECT|:scheme=https|:path=/|:authority=h|:protocol=web socket", "invalid :protocol"},
		{get + "|Upper=case", "invalid field name"},
		{get + "|sp ace=x", "invalid field name"},
		{get + "|a:b=x", "invalid field name"},
		{get + "|a= x", "invalid field value"},
		{get + "|a=x\t", "invalid field value"},
		{get + "|a=x\r\ny: z", "invalid field value"},
		{get + "|a=x\x00", "invalid field value"},
		{get + "|connection=close", "connection-specific field"},
		{get + "|proxy-connection=close", "connection-specific field"},
		{get + "|keep-alive=x", "connection-specific field"},
		{get + "|transfer-encoding=chunked", "connection-specific field"},
		{get + "|upgrade=h2c", "connection-specific field"},
		{get + "|te=gzip", "TE other than trailers"},
		{get + "|content-length=5", "content-length without content"},
		{get + "|content-length=0|content-length=0", "invalid content-length"},
		{get + "|content-length=+0", "invalid content-length"},
		{get + "|content-length=", "invalid content-length"},
	}
	for _, tt := range tests {
		p := newRawPeer(t, &scriptConn{})
		var list []string
		if tt.fields != "" {
			list = strings.Split(tt.fields, "|")
		}
		req, why, err := newHeadReader(Config{}, false).readRequest(p.block(list...), true)
		got := why
		if err != nil {
			got = err.Error()
		} else if why == "" {
			got = fmt.Sprintf("%s %s %d %s", req.Method, req.Target, req.Length, strings.ReplaceAll(strings.TrimSpace(req.Fields.String()), "\n", "|"))
		}
		if got != tt.want {
			t.Errorf("%q:\n got %q\nwant %q", tt.fields, got, tt.want)
		}
	}
}

func TestReadResponse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fields string
		want   string
	}{
		{":status=200", "200 -1 "},
		{":status=103|link=x", "103 -1 link: x"},
		{":status=200|content-length=7|host=h|cookie=a|set-cookie=b", "200 7 content-length: 7|host: h|cookie: a|set-cookie: b"},
		{"", "invalid :status"},
		{":status=101", "invalid :status"},
		{":status=099", "invalid :status"},
		{":status=20", "invalid :status"},
		{":status=2000", "invalid :status"},
		{":status=+20", "invalid :status"},
		{":status=200|:status=200", "misplaced pseudo-header field"},
		{":method=GET|:status=200", "misplaced pseudo-header field"},
		{":status=200|content-length=7|content-length=7", "invalid content-length"},
		{":status=200|connection=close", "connection-specific field"},
	}
	for _, tt := range tests {
		p := newRawPeer(t, &scriptConn{})
		var list []string
		if tt.fields != "" {
			list = strings.Split(tt.fields, "|")
		}
		c := newHeadReader(Config{}, true)
		var res header.Response
		c.heads.start(&res.Fields)
		err := c.decode(p.block(list...))
		got := c.heads.finishResponse(&res)
		if got == "" && err == nil {
			got = fmt.Sprintf("%d %d %s", res.Status, res.Length, strings.ReplaceAll(strings.TrimSpace(res.Fields.String()), "\n", "|"))
		}
		if got != tt.want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", tt.fields, got, err, tt.want)
		}
	}
}

// TestHeadLimits looks at both sides of each limit.
func TestHeadLimits(t *testing.T) {
	t.Parallel()
	get := []string{":method=GET", ":scheme=http", ":path=/", ":authority=h"} // 4 fields, 42+43+38+43 bytes
	var size int
	for _, f := range get {
		size += len(f) - 1 + 32
	}
	crumbs := func(n int) []string { return slices.Repeat([]string{"cookie=a"}, n) }
	cfg := Config{MaxHeaderBytes: 2000, MaxFields: 20}
	tests := []struct {
		name   string
		fields []string
		ok     bool
	}{
		{"20 fields", crumbs(16), true},
		{"21 fields", crumbs(17), false},
		{"2000 bytes", []string{"a=" + strings.Repeat("x", 2000-size-33)}, true},
		{"2001 bytes", []string{"a=" + strings.Repeat("x", 2001-size-33)}, false},
	}
	for _, tt := range tests {
		p := newRawPeer(t, &scriptConn{})
		c := newHeadReader(cfg, false)
		_, why, err := c.readRequest(p.block(append(slices.Clone(get), tt.fields...)...), true)
		if ok := why == ""; ok != tt.ok || err != nil {
			t.Errorf("%s: %q, %v, want ok = %v", tt.name, why, err, tt.ok)
		}
		// The decoder has stayed in step.
		if _, why, err := c.readRequest(p.block(append(slices.Clone(get), "a=b")...), true); why != "" || err != nil {
			t.Errorf("after %s: %q, %v", tt.name, why, err)
		}
	}
}

// TestIndexedBomb: a block of references to one large entry of the dynamic
// table stands for 50 MB and costs next to nothing.
func TestIndexedBomb(t *testing.T) {
	p := newRawPeer(t, &scriptConn{})
	c := newHeadReader(Config{MaxFields: 10_000, MaxHeaderBytes: 1 << 20}, false)
	entry := "cookie=" + strings.Repeat("x", 4000)
	if _, _, err := c.readRequest(p.block(entry), true); err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat(p.block(entry), 13_000)
	if len(block) != 13_000 {
		t.Fatalf("block of %d bytes, want one for each field", len(block))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.readRequest(block, true)
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	if allocated > 8<<20 {
		t.Errorf("decoding allocated %d bytes, want at most some times the limit of 1 MiB", allocated)
	}
	if cap(c.heads.cookie) > 2<<20 {
		t.Errorf("the connection keeps %d bytes", cap(c.heads.cookie))
	}
	if c.heads.start(nil); cap(c.heads.cookie) > maxKept {
		t.Errorf("the connection keeps %d bytes for the next head", cap(c.heads.cookie))
	}
}

// decodeBlock returns the fields of a block as "name=value", with "!" in front
// of those that must never be indexed.
func decodeBlock(t *testing.T, block []byte) (list []string) {
	t.Helper()
	fields, err := hpack.NewDecoder(maxTableSize, nil).DecodeFull(block)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		s := f.Name + "=" + f.Value
		if f.Sensitive {
			s = "!" + s
		}
		list = append(list, s)
	}
	return list
}

func TestWriteRequest(t *testing.T) {
	t.Parallel()
	req := newRequest("POST", "/a?b", 5)
	for _, f := range []string{
		"Content-Type=text/plain", "X-Custom=v", "Connection=close", "Keep-Alive=x", "Proxy-Connection=x", "TE=gzip",
		"Transfer-Encoding=chunked", "Upgrade=h2c", "HTTP2-Settings=x", "Content-Length=7", "Authorization=secret",
		"Cookie=a=b; c=d;e=f; " + strings.Repeat("x", 20) + ";  y",
	} {
		name, value, _ := strings.Cut(f, "=")
		req.Fields.AddValid(name, value)
	}
	got := strings.Join(decodeBlock(t, newHeadWriter().request(req, "https", "", true)), "|")
	want := ":method=POST|:scheme=https|:path=/a?b|:authority=h|content-type=text/plain|x-custom=v|!authorization=secret|" +
		"!cookie=a=b|!cookie=c=d;e=f|cookie=" + strings.Repeat("x", 20) + ";  y|te=trailers|content-length=5"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, tt := range []struct {
		req      *header.Request
		protocol string
		want     string
	}{
		{newRequest("CONNECT", "x:443", -1), "", ":method=CONNECT|:authority=x:443"},
		{newRequest("CONNECT", "/chat", -1), "websocket", ":method=CONNECT|:scheme=http|:path=/chat|:protocol=websocket|:authority=h"},
		{newRequest("GET", "/", 0), "", ":method=GET|:scheme=http|:path=/|:authority=h"},
		{newRequest("PUT", "/", 0), "", ":method=PUT|:scheme=http|:path=/|:authority=h|content-length=0"},
		{newRequest("PUT", "/", -1), "", ":method=PUT|:scheme=http|:path=/|:authority=h"},
	} {
		if got := strings.Join(decodeBlock(t, newHeadWriter().request(tt.req, "http", tt.protocol, false)), "|"); got != tt.want {
			t.Errorf("%s %s:\n got %s\nwant %s", tt.req.Method, tt.req.Target, got, tt.want)
		}
	}
}

// TestWriteCookie: in whatever crumbs a cookie is sent, the other side joins
// them to what it was.
func TestWriteCookie(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"a", "a=b; c=d", "a;b", "a; ;b", "; a", "a; ", "a;  b", "a ; b", ";", "; ", strings.TrimSpace(strings.Repeat("a=b; ", 200)),
	} {
		req := newRequest("GET", "/", 0)
		req.Fields.AddValid("Cookie", value)
		block := newHeadWriter().request(req, "http", "", false)
		if n := len(decodeBlock(t, block)); n > 4+maxCrumbs {
			t.Errorf("%q: %d fields, want at most %d", value, n, 4+maxCrumbs)
		}
		got, why, err := newHeadReader(Config{}, false).readRequest(block, true)
		if strings.TrimSpace(value) != value {
			continue // cannot be received over HTTP/1 either
		}
		if got.Fields.Get("Cookie") != value || why != "" || err != nil {
			t.Errorf("cookie %q was received as %q (%s, %v)", value, got.Fields.Get("Cookie"), why, err)
		}
	}
}

// What the peer sends never indexed leaves so again, and nothing else does
// that would not anyway (RFC 7541 section 6.2.3).
func TestNeverIndexedRequest(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 20)
	var many []string
	for range maxCrumbs + 5 {
		many = append(many, "cookie=a=b")
	}
	tests := []struct {
		name string
		in   string // behind :method and :scheme; "!" marks what is never indexed
		want string
	}{
		{"unknown name", ":path=/|:authority=h|!x-secret=v|x-other=v", ":path=/|:authority=h|!x-secret=v|x-other=v"},
		{"known name", ":path=/|:authority=h|!user-agent=v|!age=1", ":path=/|:authority=h|!user-agent=v|!age=1"},
		{"one of two lines", ":path=/|:authority=h|a=1|!a=2", ":path=/|:authority=h|!a=1|!a=2"},
		{"in the static table", ":path=/|:authority=h|!accept-encoding=gzip, deflate", ":path=/|:authority=h|!accept-encoding=gzip, deflate"},
		{"target and host", "!:path=/|!:authority=h|a=b", "!:path=/|!:authority=h|a=b"},
		{"host", ":path=/|!host=h", ":path=/|!:authority=h"},
		{"length", ":path=/|:authority=h|!content-length=5", ":path=/|:authority=h|!content-length=5"},
		{"ours", ":path=/|:authority=h|authorization=x", ":path=/|:authority=h|!authorization=x"},
		{"short crumb", ":path=/|:authority=h|!cookie=a=b|cookie=c=" + long, ":path=/|:authority=h|!cookie=a=b|cookie=c=" + long},
		{"long crumb", ":path=/|:authority=h|!cookie=a=" + long + "|cookie=c=" + long, ":path=/|:authority=h|!cookie=a=" + long + "|!cookie=c=" + long},
		{
			"many crumbs", ":path=/|:authority=h|" + strings.Join(many, "|") + "|!cookie=c=d",
			":path=/|:authority=h|!" + strings.Join(many[:maxCrumbs-1], "|!") + "|!" + strings.Join(many[maxCrumbs-1:], "; ") + "; c=d",
		},
	}
	for _, tt := range tests {
		const first = ":method=POST|:scheme=http|"
		req, why, err := newHeadReader(Config{}, false).readRequest(markedBlock(first+tt.in), false)
		if why != "" || err != nil {
			t.Fatalf("%s: %q, %v", tt.name, why, err)
		}
		w := newHeadWriter()
		got := strings.Join(decodeBlock(t, w.request(&req, "http", "", false)), "|")
		got = strings.ReplaceAll(got, "; cookie=", "; ")
		want := first + strings.ReplaceAll(tt.want, "; cookie=", "; ")
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, want)
		}
		for _, e := range w.table.entries {
			if strings.Contains(tt.want, "!"+e.name+"="+e.value) {
				t.Errorf("%s: %s is in the dynamic table", tt.name, e.name)
			}
		}
		if w.from != nil {
			t.Errorf("%s: the writer keeps the request", tt.name)
		}
	}
	// What is not marked, though it has a crumb that is short, compresses.
	req, _, _ := newHeadReader(Config{}, false).readRequest(markedBlock(":method=GET|:scheme=http|:path=/|:authority=h|"+strings.Join(many, "|")), true)
	if list := decodeBlock(t, newHeadWriter().request(&req, "http", "", false)); list[len(list)-1][0] == '!' {
		t.Errorf("the rest of a cookie without secrets is never indexed: %s", list)
	}
}

// The same of responses and trailers, byte by byte.
func TestNeverIndexedResponse(t *testing.T) {
	t.Parallel()
	c := newHeadReader(Config{}, true)
	var res header.Response
	c.heads.start(&res.Fields)
	if err := c.decode(markedBlock("!:status=200|server=x|!set-cookie=a=b")); err != nil || c.heads.finishResponse(&res) != "" {
		t.Fatal(err, c.heads.bad)
	}
	never := func(name byte, rest string) string { return "\x1f" + string(name-15) + rest } // of the static table, from 15 on
	want := "\x18\x82\x10\x01" + "\x76\x01x" + never(55, "\x03a=b")
	if got := newHeadWriter().response(&res, -1); string(got) != want {
		t.Errorf("head  %q\nwant %q", got, want)
	}
	var trailers header.Fields
	c.heads.start(&trailers)
	c.heads.trailers = true
	if err := c.decode(markedBlock("!a=b|c=d|!etag=e")); err != nil || c.heads.bad != "" {
		t.Fatal(err, c.heads.bad)
	}
	want = "\x10\x01a\x01b" + "\x40\x01c\x01d" + never(34, "\x01e")
	if got := newHeadWriter().trailers(&trailers); string(got) != want {
		t.Errorf("trailers %q\nwant     %q", got, want)
	}
}

// markedBlock encodes fields as decodeBlock returns them, separated by "|".
func markedBlock(fields string) []byte {
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	for field := range strings.SplitSeq(fields, "|") {
		field, marked := strings.CutPrefix(field, "!")
		i := strings.IndexByte(field[1:], '=') + 1
		enc.WriteField(hpack.HeaderField{Name: field[:i], Value: field[i+1:], Sensitive: marked})
	}
	return buf.Bytes()
}

func TestWriteResponse(t *testing.T) {
	t.Parallel()
	for _, status := range []int{100, 200, 204, 301, 302, 304, 404, 500, 503, 999} {
		res := &header.Response{Status: status}
		res.Fields.Add("Server", "x")
		got := strings.Join(decodeBlock(t, newHeadWriter().response(res, 3)), "|")
		if want := fmt.Sprintf(":status=%d|server=x|content-length=3", status); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	var trailers header.Fields
	trailers.Add("Grpc-Status", "0")
	trailers.Add("Content-Length", "5")
	trailers.Add("Host", "x")
	if got := fmt.Sprint(decodeBlock(t, newHeadWriter().trailers(&trailers))); got != "[grpc-status=0]" {
		t.Errorf("trailers %s, want grpc-status alone", got)
	}
}

// TestKnownNames: the table has each name as strings.ToLower has it, under the
// index at which a decoder finds it.
func TestKnownNames(t *testing.T) {
	t.Parallel()
	for name, k := range knownNames {
		if want := strings.ToLower(name); k.lower != want {
			t.Errorf("%q has lower %q, want %q", name, k.lower, want)
		}
		if k.static == 0 {
			continue
		}
		block := appendString(appendPrefixed(nil, 0, 4, uint64(k.static)), "v")
		if got := fmt.Sprint(decodeBlock(t, block)); got != "["+k.lower+"=v]" {
			t.Errorf("%q is at index %d, where a decoder finds %s", name, k.static, got)
		}
	}
	if k := knownNames["www-authenticate"]; k == nil || k.static != staticLen {
		t.Errorf("www-authenticate is %+v, want it at the end of the static table", k)
	}
}

// A captureConn keeps what is written to it.
type captureConn struct {
	scriptConn
	out bytes.Buffer
}

func (c *captureConn) Write(p []byte) (int, error) { return c.out.Write(p) }

// asHTTP1 returns a request as our HTTP/1.1 client sends it.
func asHTTP1(req *header.Request) ([]byte, error) {
	nc := &captureConn{}
	cfg := http1.ClientConfig{}.WithDefaults()
	c := http1.NewClientConn(nc)
	defer c.Close()
	c.Begin(&cfg, nil)
	if err := c.WriteHead(req, "", false, true); err != nil {
		return nil, err
	}
	err := c.Flush()
	return nc.out.Bytes(), err
}

// FuzzHeadToHTTP1: what is accepted as a request and sent on as HTTP/1.1 is
// read there as the same message, by our own server and by that of the
// standard library: nothing that is data in one becomes syntax in the other.
// What is sent on as HTTP/2 is the same message as well.
func FuzzHeadToHTTP1(f *testing.F) {
	p := newRawPeer(f, &scriptConn{})
	for _, fields := range []string{
		":method=GET|:scheme=http|:path=/|:authority=h",
		":method=POST|:scheme=https|:path=/a?b=c|:authority=example.com:81|content-length=0|a=b|cookie=c|cookie=d",
		":method=OPTIONS|:scheme=http|:path=*|:authority=[::1]:80",
		":method=CONNECT|:authority=h:443",
		":method=GET|:scheme=http|:path=/ HTTP/1.1\r\nX: y|:authority=h|a=x\r\ny: z",
		":method=GET|:scheme=http|:path=/\x80\xff|:authority=h|a=\x80",
		":method=GET|:scheme=http|:path=//x|host=h|te=trailers|expect=100-continue",
	} {
		p.enc = hpack.NewEncoder(&p.buf)
		f.Add(p.block(strings.Split(fields, "|")...))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		req, why, err := newHeadReader(Config{}, false).readRequest(block, true)
		if err != nil || why != "" {
			return
		}
		if again, why, err := newHeadReader(Config{}, false).readRequest(newHeadWriter().request(&req, "http", "", false), true); why != "" || err != nil ||
			again.Method != req.Method || again.Target != req.Target || again.Host() != req.Host() {
			t.Errorf("%v was sent on as %v (%s, %v)", req, again, why, err)
		}
		wire, err := asHTTP1(&req)
		if err != nil || req.Fields.Has("Expect") {
			return // an expectation that it does not know is refused there
		}
		var got *header.Request
		cfg := http1.ServerConfig{}.WithDefaults()
		count := 0
		http1.NewServerConn(&scriptConn{pieces: [][]byte{bytes.Clone(wire)}}, &cfg, func(s *http1.ServerStream) {
			r := *s.Request()
			r.Fields = s.Request().Fields.Clone()
			got = &r
			count++
			s.WriteHead(&header.Response{Status: 204}, true)
		}).Serve()
		if count != 1 || got.Method != req.Method || got.Target != req.Target || got.Length != 0 {
			t.Fatalf("%v was sent as %q and read as %d requests, %v", req, wire, count, got)
		}
		if want := forwarded(&req.Fields); forwarded(&got.Fields) != want {
			t.Errorf("sent as %q:\n got fields %q\nwant %q", wire, forwarded(&got.Fields), want)
		}
		checkNetHTTP(t, &req, wire)
	})
}

// forwarded returns the fields that do not belong to framing or one connection.
func forwarded(f *header.Fields) string {
	var b strings.Builder
	for name, value := range f.All() {
		switch name = strings.ToLower(name); name {
		case "content-length", "transfer-encoding", "te", "connection", "expect", "trailer", "http2-settings":
		default:
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return b.String()
}

// checkNetHTTP checks how the standard library reads the request. It may
// refuse what is legal.
func checkNetHTTP(t *testing.T, req *header.Request, wire []byte) {
	t.Helper()
	br := bufio.NewReader(bytes.NewReader(wire))
	std, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	body, _ := io.ReadAll(std.Body)
	if rest, _ := io.ReadAll(br); len(body) != 0 || len(rest) != 0 {
		t.Errorf("%q: net/http sees a body %q and then %q", wire, body, rest)
	}
	if std.Method != req.Method || std.RequestURI != req.Target {
		t.Errorf("%q: net/http reads %s %s, want %s %s", wire, std.Method, std.RequestURI, req.Method, req.Target)
	}
	if std.Host != req.Host() && req.Method != "CONNECT" && !strings.HasPrefix(req.Target, "//") {
		t.Errorf("%q: net/http reads host %q, want %q", wire, std.Host, req.Host())
	}
	n := 0
	for name := range req.Fields.All() {
		if _, ok := std.Header[http.CanonicalHeaderKey(name)]; !ok && strings.Contains(forwarded(&req.Fields), strings.ToLower(name)+": ") && !header.EqualName(name, "Host") {
			t.Errorf("%q: net/http has no field %q", wire, name)
		}
		n++
	}
	for name := range std.Header {
		switch {
		case req.Fields.Has(name), name == "Connection", name == "Te", name == "Content-Length":
		default:
			t.Errorf("%q: net/http reads a field %q of %d that was not sent", wire, name, n)
		}
	}
}
