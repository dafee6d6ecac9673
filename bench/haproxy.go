// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// haproxyConfig takes, in order: the connections of clients, the number of
// threads, the listening address with its options, the line for large bodies,
// the scheme and the servers. Without a log line it logs nothing; the sizes of its pools stay as they are by default. With strict
// limits it would not start if maxconn needed more descriptors than it may have.
const haproxyConfig = `global
	maxconn %d
	nbthread %d
	no strict-limits
	hard-stop-after 1s
defaults
	mode http
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	timeout http-keep-alive 1h
	option http-keep-alive
	http-reuse always
frontend clients
	bind %s
	default_backend origins
backend origins
	balance roundrobin
%s	option forwardfor
	http-request set-header X-Forwarded-Proto %s
	http-request set-header X-Forwarded-Host %%[req.hdr(host)]
	http-request set-header Host ` + hostWanted + `
%s`

// haproxySplice has the kernel move large bodies. It halves the CPU time for a
// body of 1 MiB; option splice-auto changes nothing, as HAProxy does not take
// this load for a stream.
const haproxySplice = "\toption splice-request\n\toption splice-response\n"

// haproxyPeer is HAProxy with the configuration above.
func haproxyPeer(context.Context, workshop) peer {
	return installed("haproxy", "-v", `[0-9]+\.[0-9.]+[^ ]*`, func(program string, set setup) (*exec.Cmd, error) {
		var servers strings.Builder
		for i, origin := range set.origins {
			fmt.Fprintf(&servers, "\tserver o%d %s\n", i, origin)
		}
		splice := ""
		if set.body >= largeBody {
			splice = haproxySplice
		}
		text := fmt.Sprintf(haproxyConfig, haproxyMaxconn(set), set.cores, haproxyBind(set), splice, set.scheme(), servers.String())
		file, err := set.write("haproxy.cfg", text)
		return exec.Command(program, "-db", "-q", "-f", file), err // -db: one process, in the foreground
	})
}

// haproxyBind returns the address with its options: without tickets, as no
// client of ours resumes.
func haproxyBind(set setup) string {
	bind := set.listen + " backlog 4096"
	switch {
	case set.access.TLS:
		bind += " ssl crt " + set.certs.both + " alpn " + strings.Join(set.access.alpn(), ",") +
			" ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256 no-tls-tickets"
	case set.access.H2:
		bind += " proto h2"
	}
	return bind
}

// haproxyMaxconn returns the maxconn for set. It is far above the number of
// clients if the limit on descriptors allows: HAProxy counts on two descriptors
// for each of maxconn and keeps no idle connection to a server while more than
// a quarter of them are in use.
func haproxyMaxconn(set setup) int {
	return max(set.conns+64, min(4*set.conns+4096, set.descriptors/2-256))
}
