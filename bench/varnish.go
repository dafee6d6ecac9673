// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// varnishTag matches a tag of Varnish's log in the output of varnishd -x vsl.
var varnishTag = regexp.MustCompile(`(?m)^(\w+)\n[-~]+$`)

// varnishUnlogged returns the setting that keeps all tags out of the log in
// shared memory, which every request is written to otherwise.
func varnishUnlogged(program string) (string, error) {
	out, err := exec.Command(program, "-x", "vsl").Output()
	if err != nil {
		return "", fmt.Errorf("list the tags of the log: %w", err)
	}
	var mask []string
	for _, found := range varnishTag.FindAllStringSubmatch(string(out), -1) {
		mask = append(mask, "-"+found[1])
	}
	return "vsl_mask=" + strings.Join(mask, ","), nil
}

// varnishPeer is Varnish without its cache: every request is passed. It has a
// thread for each request and another for its fetch, all on the CPUs of the
// proxy.
func varnishPeer(context.Context, workshop) peer {
	p := installed("varnishd", "-V", `[0-9]+\.[0-9.]+`, func(program string, set setup) (*exec.Cmd, error) {
		file, err := set.write("default.vcl", varnishVCL(set))
		if err != nil {
			return nil, err
		}
		unlogged, err := varnishUnlogged(program)
		if err != nil {
			return nil, err
		}
		threads := 2*set.conns + 200
		args := []string{
			"-F", "-j", "none", "-n", set.dir, "-a", set.listen + ",HTTP", "-f", file, "-s", "malloc,64m", "-T", "none",
			"-p", "thread_pools=" + strconv.Itoa(set.cores),
			"-p", "thread_pool_max=" + strconv.Itoa(max(threads, 5000)),
			"-p", "thread_pool_min=" + strconv.Itoa(min(threads, 1000)), // so that few are made while it is measured
			"-p", "http_gzip_support=off",
			"-p", "timeout_idle=3600", "-p", "backend_idle_timeout=3600",
			"-p", unlogged,
		}
		if set.access.H2 {
			args = append(args, "-p", "feature=+http2")
		}
		return exec.Command(program, args...), nil
	})
	if p.Skipped == "" {
		p.Differs = []string{"two threads for each request"}
	}
	p.lacks = func(a access) string {
		if a.TLS {
			return "it has no TLS"
		}
		return ""
	}
	return p
}

// varnishVCL returns the program for a request. Varnish sets X-Forwarded-For by
// itself.
func varnishVCL(set setup) string {
	var backends, members strings.Builder
	for i, origin := range set.origins {
		host, port, _ := net.SplitHostPort(origin)
		fmt.Fprintf(&backends, "backend o%d { .host = %q; .port = %q; .max_connections = %d; }\n", i, host, port, set.pool())
		fmt.Fprintf(&members, "\torigins.add_backend(o%d);\n", i)
	}
	return fmt.Sprintf(`vcl 4.1;
import directors;
%ssub vcl_init {
	new origins = directors.round_robin();
%s}
sub vcl_recv {
	set req.http.X-Forwarded-Proto = %q;
	set req.http.X-Forwarded-Host = req.http.Host;
	set req.http.Host = %q;
	unset req.http.Scheme; # which it makes of HTTP/2
	return (pass);
}
sub vcl_backend_fetch {
	set bereq.backend = origins.backend();
	unset bereq.http.X-Varnish;
}
`, backends.String(), members.String(), set.scheme(), hostWanted)
}
