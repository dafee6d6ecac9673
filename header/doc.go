// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package header holds the heads of HTTP messages: the start line and the
// fields, in the order and spelling in which they were received.
//
// One model serves every protocol. The HTTP/1 and HTTP/2 parsers fill a
// [Request] or [Response]; everything else (routing, hooks, logs, the writer
// of the other side) reads only that.
//
//	host := req.Host()
//	req.Fields.Set("Accept-Encoding", "identity")
//	for name, value := range req.Fields.All() {
//		fmt.Println(name, value)
//	}
//
// Names are compared without regard to ASCII case, as RFC 9110 section 5.1
// asks. All strings of a received head are cut from one immutable copy of it:
// they may be kept for as long as the program likes, at the price of keeping
// the whole head.
//
// The files grammar*.go have the pieces of field grammar that more than one
// package needs: lists ([List], [HasToken]), parameters ([Params]), quality
// values ([PreferredCoding]), dates ([ParseDate], [Date]), lengths
// ([ParseLength]) and hosts ([ValidHost]).
package header
