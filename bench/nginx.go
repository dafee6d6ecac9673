// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strings"
)

// nginxConfig takes, in order: the user directive, the number of workers, the
// connections for each, the servers, the idle connections to keep to them, the
// listening address with its options, the directives for TLS and those for
// buffers. The limits on requests per connection are lifted, as no other peer
// has them. No body goes through a file, nor waits until it is complete.
const nginxConfig = `daemon off;
%s
worker_processes %d;
pid nginx.pid;
error_log /dev/null crit;
events {
	worker_connections %d;
}
http {
	access_log off;
	client_body_temp_path client_body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	keepalive_timeout 1h;
	keepalive_requests 1000000000;
	upstream origins {
%s		keepalive %d;
		keepalive_requests 1000000000;
		keepalive_timeout 1h;
	}
	server {
		listen %s backlog=4096;
%s		client_max_body_size 0;
		location / {
			proxy_pass http://origins;
			proxy_http_version 1.1;
			proxy_set_header Host ` + hostWanted + `;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Forwarded-Host $host;
			proxy_set_header Connection "";
			proxy_request_buffering off;
			proxy_max_temp_file_size 0;
%s		}
	}
}
`

// nginxBuffers replaces the buffers of 4 or 8 KiB where bodies are large. It
// halves the CPU time for a body of 100 MiB.
const nginxBuffers = `			proxy_buffers 8 512k;
			proxy_busy_buffers_size 1m;
`

// nginxPeer is nginx with the configuration above.
func nginxPeer(context.Context, workshop) peer {
	return installed("nginx", "-v", `[0-9]+\.[0-9.]+`, func(program string, set setup) (*exec.Cmd, error) {
		var servers strings.Builder
		for _, origin := range set.origins {
			fmt.Fprintf(&servers, "\t\tserver %s max_fails=0;\n", origin)
		}
		userLine, err := nginxUser()
		if err != nil {
			return nil, err
		}
		listen, directives := nginxListen(set)
		buffers := ""
		if set.body >= largeBody {
			buffers = nginxBuffers
		}
		text := fmt.Sprintf(nginxConfig, userLine, set.cores, set.connectionLimit(), servers.String(), set.pool(), listen, directives, buffers)
		if _, err := set.write("nginx.conf", text); err != nil {
			return nil, err
		}
		// -e keeps it from opening the log file it was built with.
		return exec.Command(program, "-p", set.dir, "-c", "nginx.conf", "-e", "stderr"), nil
	})
}

// nginxListen returns the address with its options, and the lines for TLS:
// without tickets, as no client of ours resumes.
func nginxListen(set setup) (listen, directives string) {
	listen = set.listen
	if set.access.TLS {
		listen += " ssl"
		directives = "\t\tssl_certificate " + set.certs.cert + ";\n\t\tssl_certificate_key " + set.certs.key + ";\n" +
			"\t\tssl_protocols TLSv1.3;\n\t\tssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\n\t\tssl_session_tickets off;\n"
	}
	if set.access.H2 {
		listen += " http2"
	}
	return listen, directives
}

// nginxUser keeps the workers of a master that runs as root from changing to a
// user who cannot enter our directory. For others the directive has no effect.
func nginxUser() (string, error) {
	if os.Geteuid() != 0 {
		return "", nil
	}
	u, err := user.Current()
	if err != nil {
		return "", fmt.Errorf("find own user name: %w", err)
	}
	return "user " + u.Username + ";", nil
}
