// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package grpcweb

import "github.com/belay-proxy/belay/header"

const (
	grpcType = "application/grpc"
	webType  = "application/grpc-web"
	textMark = "-text"
)

// Match reports whether a request is grpc-web.
func Match(head *header.Request) bool {
	_, _, ok := parseWebType(head.Fields.Get("Content-Type"))
	return ok && head.Method == "POST"
}

// parseWebType takes a media type of grpc-web apart: whether it is the text
// form, and the suffix that names the encoding of messages, such as "+proto",
// or "".
func parseWebType(value string) (text bool, suffix string, ok bool) {
	rest, ok := cutType(value, webType)
	if !ok {
		return false, "", false
	}
	if n := len(textMark); len(rest) >= n && header.EqualName(rest[:n], textMark) {
		text, rest = true, rest[n:]
	}
	return text, rest, rest == "" || rest[0] == '+'
}

// parseType returns the suffix of a media type of gRPC proper.
func parseType(value string) (suffix string, ok bool) {
	suffix, ok = cutType(value, grpcType)
	return suffix, ok && (suffix == "" || suffix[0] == '+')
}

// cutType returns what follows prefix in a media type, without parameters.
func cutType(value, prefix string) (rest string, ok bool) {
	if len(value) < len(prefix) || !header.EqualName(value[:len(prefix)], prefix) {
		return "", false
	}
	item, _ := header.CutParams(value)
	return item[len(prefix):], true
}

// wantsText reports whether the response is to be of the text form: as Accept
// says, or else like the request.
func wantsText(head *header.Request, requestText bool) bool {
	for element := range header.List(&head.Fields, "Accept") {
		if text, _, ok := parseWebType(element); ok {
			return text
		}
	}
	return requestText
}

// webTypeOf returns the media type of a response.
func webTypeOf(text bool, suffix string) string {
	if text {
		return webType + textMark + suffix
	}
	return webType + suffix
}
