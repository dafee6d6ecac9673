// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"iter"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/belay-proxy/belay/header"
)

// A headReader turns the fields of one header list into a head or trailers,
// and checks them as RFC 9113 section 8 asks. Its emit is the decoder's.
type headReader struct {
	cfg      *Config
	fields   *header.Fields
	trailers bool // no pseudo-header fields
	response bool

	size, count int
	tooLarge    bool
	bad         string // why the list is malformed, "" if it is not
	regular     bool   // a regular field has come

	method, scheme, authority, path, protocol, status string
	seen                                              uint8 // pseudo-header fields
	host                                              string
	hosts, lengths                                    int
	length                                            int64
	cookie                                            []byte
	shortSecret                                       bool // a crumb of it is never indexed and short
	priority                                          string
	expects                                           bool // something other than 100-continue
}

// The bits of headReader.seen.
const (
	seenMethod = 1 << iota
	seenScheme
	seenAuthority
	seenPath
	seenProtocol
	seenStatus
)

// start prepares for a header list that goes to fields.
func (r *headReader) start(fields *header.Fields) {
	cookie := r.cookie[:0]
	if cap(cookie) > maxKept {
		cookie = nil
	}
	*r = headReader{cfg: r.cfg, response: r.response, fields: fields, cookie: cookie, length: header.UnknownLength}
}

// done lets go of the fields.
func (r *headReader) done() { r.fields = nil }

// maxKept is the capacity of a buffer beyond which a connection does not keep
// it from one head to the next, in bytes.
const maxKept = 4 << 10

// emit takes one field. It keeps counting beyond a limit, as the decoder has
// to go on in step with the peer's encoder, but keeps nothing.
func (r *headReader) emit(f hpack.HeaderField) {
	r.count++
	r.size += len(f.Name) + len(f.Value) + 32
	if r.size > r.cfg.MaxHeaderBytes || r.count > r.cfg.MaxFields {
		r.tooLarge = true
	}
	if r.tooLarge || r.bad != "" {
		return
	}
	if f.Sensitive {
		r.neverIndex(f)
	}
	if strings.HasPrefix(f.Name, ":") {
		r.pseudo(f)
		return
	}
	r.regular = true
	r.field(f)
}

// neverIndex notes that the peer wants a field to be never indexed, by whoever
// encodes it again (RFC 7541 section 6.2.3), unless we would not do it anyway.
func (r *headReader) neverIndex(f hpack.HeaderField) {
	name, ok := knownNames[f.Name]
	switch {
	case f.Name == ":authority":
		r.fields.NeverIndex("host") // as which it is kept
	case !ok:
		r.fields.NeverIndex(f.Name)
	case name.static == staticCookie && len(f.Value) < shortSecret:
		r.shortSecret = true
	case name.how != neverIndexed:
		r.fields.NeverIndex(name.lower)
	}
}

// pseudo takes a pseudo-header field (RFC 9113 section 8.3).
func (r *headReader) pseudo(f hpack.HeaderField) {
	if r.regular || r.trailers {
		r.bad = "pseudo-header field out of place"
		return
	}
	var bit uint8
	var dst *string
	switch f.Name {
	case ":method":
		bit, dst = seenMethod, &r.method
	case ":scheme":
		bit, dst = seenScheme, &r.scheme
	case ":authority":
		bit, dst = seenAuthority, &r.authority
	case ":path":
		bit, dst = seenPath, &r.path
	case ":protocol":
		bit, dst = seenProtocol, &r.protocol
	case ":status":
		bit, dst = seenStatus, &r.status
	default:
		r.bad = "unknown pseudo-header field"
		return
	}
	if r.seen&bit != 0 || r.response != (bit == seenStatus) {
		r.bad = "misplaced pseudo-header field"
		return
	}
	r.seen |= bit
	*dst = f.Value
}

// field takes a regular field.
func (r *headReader) field(f hpack.HeaderField) {
	if !validName(f.Name) {
		r.bad = "invalid field name"
		return
	}
	if !header.ValidValue(f.Value) || f.Value != strings.Trim(f.Value, " \t") {
		r.bad = "invalid field value" // RFC 9113 section 8.2.1
		return
	}
	switch f.Name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		r.bad = "connection-specific field" // RFC 9113 section 8.2.2
		return
	case "te":
		if f.Value != "trailers" {
			r.bad = "TE other than trailers"
			return
		}
	case "host":
		r.hosts++
		r.host = f.Value
		if !r.response {
			return // put in front by finishRequest
		}
	case "content-length":
		n, ok := header.ParseLength(f.Value)
		if r.lengths++; !ok || r.lengths > 1 {
			r.bad = "invalid content-length"
			return
		}
		r.length = n
	case "cookie":
		if !r.response {
			// RFC 9113 section 8.2.3: crumbs are one field to everyone else.
			if len(r.cookie) > 0 {
				r.cookie = append(r.cookie, crumbSep...)
			}
			r.cookie = append(r.cookie, f.Value...)
			return
		}
	case "priority":
		r.priority = f.Value
	case "expect":
		r.expects = r.expects || !header.EqualName(f.Value, "100-continue")
	}
	if !r.trailers || trailerAllowed(f.Name) {
		r.fields.AddValid(f.Name, f.Value)
	}
}

// validName reports whether name is a field name as HTTP/2 has it: a token
// without capital letters.
func validName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !header.IsTokenByte(c) || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return name != ""
}

// finishRequest makes req of what has been read and returns why it is
// malformed, or "" if it is not. ended says that no body follows.
func (r *headReader) finishRequest(req *header.Request, ended bool) string {
	const always = seenMethod | seenScheme | seenPath
	connect := r.method == "CONNECT"
	switch {
	case r.bad != "":
		return r.bad
	case !header.ValidName(r.method):
		return "invalid method"
	case connect && r.seen&seenProtocol == 0:
		// RFC 9113 section 8.5; the port is not optional (RFC 9110 section 9.3.6)
		if r.seen != seenMethod|seenAuthority || !header.ValidHost(r.authority) || !hasPort(r.authority) {
			return "malformed CONNECT"
		}
	case r.seen&always != always, r.seen&seenProtocol != 0 && !connect:
		return "missing pseudo-header field"
	case !validPath(r.method, r.path), r.scheme != "http" && r.scheme != "https":
		return "invalid :path or :scheme"
	case r.seen&seenProtocol != 0 && !header.ValidName(r.protocol):
		return "invalid :protocol"
	}
	host := r.authority
	if r.seen&seenAuthority == 0 {
		host = r.host
	}
	if r.hosts > 1 || r.hosts == 1 && r.host != host || !header.ValidHost(host) {
		return "invalid authority" // RFC 9113 section 8.3.1
	}
	if ended && r.length > 0 {
		return "content-length without content"
	}
	req.Method = r.method
	req.Target = r.path
	if connect && r.protocol == "" {
		req.Target = r.authority
	}
	req.Proto = header.HTTP2
	req.Length = r.length
	if ended {
		req.Length = 0
	}
	req.Fields.SetFirst("Host", host)
	if len(r.cookie) > 0 {
		r.addCookie(&req.Fields)
	}
	return ""
}

// addCookie adds the cookie that has come in crumbs. Short ones are never
// indexed when they leave as such again, but in a long last one.
func (r *headReader) addCookie(fields *header.Fields) {
	cookie := string(r.cookie)
	fields.AddValid("cookie", cookie)
	if !r.shortSecret {
		return
	}
	for crumb := range crumbs(cookie) {
		if strings.Contains(crumb, crumbSep) {
			fields.NeverIndex("cookie")
		}
	}
}

// hasPort reports whether a valid host names a port.
func hasPort(host string) bool {
	i := strings.LastIndexByte(host, ':')
	return i >= 0 && i+1 < len(host) && host[len(host)-1] != ']'
}

// validPath reports whether path can be the target of a request of HTTP/1 as
// well: nothing in it may become syntax there.
func validPath(method, path string) bool {
	if path == "*" {
		return method == "OPTIONS"
	}
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// finishResponse makes res of what has been read and returns why it is
// malformed, or "" if it is not.
func (r *headReader) finishResponse(res *header.Response) string {
	if r.bad != "" {
		return r.bad
	}
	n, err := strconv.Atoi(r.status)
	if err != nil || len(r.status) != 3 || n < 100 || n == 101 {
		return "invalid :status" // RFC 9113 section 8.6 for 101
	}
	res.Status = n
	res.Proto = header.HTTP2
	res.Length = r.length
	return ""
}

// A headWriter encodes heads.
type headWriter struct {
	table compressor
	buf   []byte
	from  *header.Fields // of the head that is being encoded, for what they say is never indexed

	lastLength int64 // the last content-length
	lengthText string
}

func newHeadWriter() *headWriter {
	return &headWriter{table: compressor{limit: maxTableSize}}
}

// start prepares for a head with these fields.
func (w *headWriter) start(from *header.Fields) {
	if w.buf = w.buf[:0]; cap(w.buf) > maxKept {
		w.buf = nil
	}
	w.buf = w.table.begin(w.buf)
	w.from = from
}

// done returns the head, which is valid until the next start.
func (w *headWriter) done() []byte {
	w.from = nil
	return w.buf
}

// field encodes a field whose name is in the static table at index static, or
// not if that is 0.
func (w *headWriter) field(static uint8, name, value string, how literal) {
	if w.from.NeverIndexed(name) {
		how = neverIndexed
	}
	w.buf = w.table.append(w.buf, static, name, value, how)
}

// known encodes a field with a known name.
func (w *headWriter) known(name *knownName, value string) {
	how := name.how
	if name.static == staticCookie && len(value) < shortSecret {
		how = neverIndexed
	}
	w.field(name.static, name.lower, value, how)
}

// shortSecret is how long a crumb of a cookie has to be, in bytes, for the
// compression state: shorter ones could be guessed (RFC 7541 section 7.1.3).
const shortSecret = 20

// response encodes the head of a response. length is the content-length to
// declare, -1 for none. The result is valid until the next call.
func (w *headWriter) response(res *header.Response, length int64) []byte {
	w.start(&res.Fields)
	w.field(staticStatus, ":status", statusText(res.Status), indexed)
	w.fields(&res.Fields)
	if length >= 0 {
		w.length(length)
	}
	return w.done()
}

// length encodes a content-length. Small ones are likely to come again.
func (w *headWriter) length(n int64) {
	how := notIndexed
	if n < 1000 {
		how = indexed
	}
	if n != w.lastLength || w.lengthText == "" {
		w.lastLength, w.lengthText = n, strconv.FormatInt(n, 10)
	}
	w.field(staticContentLength, "content-length", w.lengthText, how)
}

// request encodes the head of a request.
func (w *headWriter) request(req *header.Request, scheme, protocol string, trailersOK bool) []byte {
	w.start(&req.Fields)
	w.field(staticMethod, ":method", req.Method, indexed)
	host := req.Host()
	if req.Method != "CONNECT" || protocol != "" {
		w.field(staticScheme, ":scheme", scheme, indexed)
		w.field(staticPath, ":path", req.Target, notIndexed)
	} else {
		host = req.Target // RFC 9113 section 8.5
	}
	if protocol != "" {
		w.field(0, ":protocol", protocol, indexed)
	}
	if host != "" {
		how := indexed
		if req.Fields.NeverIndexed("host") {
			how = neverIndexed
		}
		w.field(staticAuthority, ":authority", host, how)
	}
	w.fields(&req.Fields)
	if trailersOK {
		w.field(0, "te", "trailers", indexed)
	}
	if req.Length > 0 || req.Length == 0 && sendsZero(req.Method) {
		w.length(req.Length)
	}
	return w.done()
}

// sendsZero reports whether a request without content says so (RFC 9110
// section 8.6).
func sendsZero(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

// trailers encodes trailers, but for those that may not be such.
func (w *headWriter) trailers(fields *header.Fields) []byte {
	w.start(fields)
	for i := range fields.Len() {
		f := fields.At(i)
		switch name, ok := knownNames[f.Name]; {
		case ok && trailerAllowed(name.lower):
			w.known(name, f.Value)
		case !ok:
			if lower := strings.ToLower(f.Name); trailerAllowed(lower) {
				w.field(0, lower, f.Value, indexed)
			}
		}
	}
	return w.done()
}

// trailerAllowed reports whether a field may stand in trailers: not if it is
// needed for framing, routing, authentication or the handling of content (RFC
// 9110 section 6.5.1). name is in lower case.
func trailerAllowed(name string) bool {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings",
		"te", "host", "range", "expect", "cookie", "set-cookie", "trailer", "max-forwards", "content-type",
		"content-length", "content-range", "content-encoding", "cache-control", "authorization",
		"proxy-authorization":
		return false
	}
	return true
}

// fields encodes all fields but those that HTTP/2 forbids or that the framing
// makes anew.
func (w *headWriter) fields(fields *header.Fields) {
	for i := range fields.Len() {
		f := fields.At(i)
		name, ok := knownNames[f.Name]
		if !ok {
			lower := strings.ToLower(f.Name)
			if name, ok = knownNames[lower]; !ok {
				w.field(0, lower, f.Value, indexed)
				continue
			}
		}
		switch {
		case name.dropped:
		case name.static == staticCookie:
			w.cookie(f.Value)
		default:
			w.known(name, f.Value)
		}
	}
}

// cookie encodes a cookie in crumbs, which compress well one by one: most stay
// the same from request to request (RFC 9113 section 8.2.3).
func (w *headWriter) cookie(value string) {
	name := knownNames["cookie"]
	for crumb := range crumbs(value) {
		w.known(name, crumb)
	}
}

// maxCrumbs bounds the fields that a cookie becomes. The last has the rest.
const maxCrumbs = 20

// crumbSep is what joins them.
const crumbSep = "; "

// crumbs iterates over the fields that a cookie becomes.
func crumbs(cookie string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for range maxCrumbs - 1 {
			crumb, rest, _ := strings.Cut(cookie, crumbSep)
			if !validCrumb(crumb) || !validCrumb(rest) {
				break
			}
			if !yield(crumb) {
				return
			}
			cookie = rest
		}
		yield(cookie)
	}
}

// validCrumb reports whether s can be the value of a field of its own.
func validCrumb(s string) bool { return s != "" && s == strings.Trim(s, " \t") }

// A knownName is what there is to know of the name of a field.
type knownName struct {
	lower   string
	static  uint8   // its index in the static table of HPACK, 0 if it is not there
	how     literal // its values are sent
	dropped bool    // HTTP/2 has no such field, or the framing makes it anew
}

// knownNames finds them in lower case and in the title case in which HTTP/1
// brings them.
var knownNames = func() map[string]*knownName {
	m := make(map[string]*knownName)
	add := func(names string, how literal, dropped bool) {
		for _, title := range strings.Fields(names) {
			lower := strings.ToLower(title)
			k := m[lower]
			if k == nil {
				k = &knownName{lower: lower, how: how, dropped: dropped}
			}
			m[lower], m[title] = k, k
		}
	}
	add(`Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges Access-Control-Allow-Origin Allow Alt-Svc
		Cache-Control Content-Disposition Content-Encoding Content-Language Content-Security-Policy Content-Type Cookie
		Date Expect Expires Forwarded From Link Max-Forwards Origin Pragma Priority Proxy-Authenticate Referer
		Referrer-Policy Refresh Retry-After Server Strict-Transport-Security Trailer User-Agent Vary Via WWW-Authenticate
		X-Cache X-Content-Type-Options X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Frame-Options X-Powered-By
		X-Real-IP`, indexed, false)
	add(`Age Content-Location Content-Range ETag Etag If-Match If-Modified-Since If-None-Match If-Range
		If-Unmodified-Since Last-Modified Location Range Server-Timing Set-Cookie X-Request-Id X-Request-ID`, notIndexed, false)
	// Secrets, for which clients ask that nobody keeps them.
	add(`Authorization Proxy-Authorization API-Key Private-Token X-Access-Token X-Amz-Security-Token X-API-Key X-Auth-Token
		X-CSRF-Token X-Goog-API-Key X-Vault-Token X-XSRF-Token`, neverIndexed, false)
	add(`Connection Proxy-Connection Keep-Alive Transfer-Encoding Upgrade Host TE Content-Length HTTP2-Settings`, indexed, true)
	for i, name := range staticNames {
		if k := m[name]; k != nil {
			k.static = firstStaticName + uint8(i)
		}
	}
	return m
}()

// staticNames are the names of fields in the static table (RFC 7541 appendix
// A), in their order there.
var staticNames = strings.Fields(`accept-charset accept-encoding accept-language accept-ranges accept
	access-control-allow-origin age allow authorization cache-control content-disposition content-encoding
	content-language content-length content-location content-range content-type cookie date etag expect expires from
	host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link location
	max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie
	strict-transport-security transfer-encoding user-agent vary via www-authenticate`)

// firstStaticName is the index of the first of them.
const firstStaticName = 15

// statusText returns the digits of a status code without allocating for the
// usual ones.
func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 204:
		return "204"
	case 301:
		return "301"
	case 302:
		return "302"
	case 304:
		return "304"
	case 404:
		return "404"
	case 500:
		return "500"
	}
	return strconv.Itoa(status)
}
