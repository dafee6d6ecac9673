// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package accesslog writes a line for each request:
//
//	log, err := accesslog.Open("/var/log/app/access.log", srv.Logger("accesslog"))
//	…
//	srv.Background("access log", log)
//	srv.OnReopen("access log", log.Reopen) // SIGUSR1, after the file was renamed
//	p, err := proxy.New(cfg, proxy.Chain(accesslog.Filter[state](log), myHooks))
//
// # Format
//
// The line is that of the combined log format, which most tools read, with two
// fields more:
//
//		192.0.2.1 - - [10/Oct/2026:13:55:36 +0000] "GET /a?b HTTP/1.1" 200 2326 "https://example.com/" "curl/8.5" 0.001204 10.0.0.1:8080
//
//	  - the address of the client's end of the connection; "unix:" if that came
//	    through a Unix socket
//	  - two fields that are always "-": identity and user
//	  - when the head of the request had been read, in local time
//	  - the request line; the target is as the client sent it, but without the
//	    scheme and authority that a client of a proxy puts there
//	  - the status sent to the client; 000 if it left before there was one
//	  - bytes of body sent to the client, without the framing of chunks
//	  - Referer and User-Agent
//	  - seconds from the head of the request to the end of the response, six
//	    decimals
//	  - the peers of all attempts in order, separated by commas; the last has
//	    answered if any has
//
// What there is none of is "-". What comes from the client cannot forge lines
// or fields: everything but printable ASCII, and quote and backslash, is
// written as \xHH, and in a field without quotes the space as well.
//
// A message that is not HTTP is refused before it is a request, and has no
// line.
//
// # Speed
//
// A request does not wait for the disk: lines gather in memory, and Run writes
// them when there are 32 KiB and at least each second. If the disk falls behind
// by 4 MiB, lines are left out, and counted by Dropped.
package accesslog
