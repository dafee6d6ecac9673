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

// caddyConfig takes, in order: the protocols, the scheme of the site, the lines
// for TLS, the origins and the idle connections to keep to each. Caddy sets the
// X-Forwarded fields by itself and logs no access.
const caddyConfig = `{
	admin off
	auto_https off
	grace_period 1s
	log {
		output discard
	}
	servers {
		protocols %s
	}
}
%s://:%s {
	bind 127.0.0.1
%s	reverse_proxy %s {
		lb_policy round_robin
		header_up Host ` + hostWanted + `
		transport http {
			compression off
			keepalive 1h
			keepalive_idle_conns_per_host %d
		}
	}
}
`

// caddyPeer is Caddy with the configuration above.
func caddyPeer(context.Context, workshop) peer {
	return installed("caddy", "version", `[0-9]+\.[0-9.]+`, func(program string, set setup) (*exec.Cmd, error) {
		protocols, secure := "h1 h2", ""
		if set.access.H2 && !set.access.TLS {
			protocols = "h1 h2c"
		}
		if set.access.TLS {
			secure = fmt.Sprintf("\ttls %s %s {\n\t\tprotocols tls1.3\n\t\tcurves x25519\n\t}\n", set.certs.cert, set.certs.key)
		}
		text := fmt.Sprintf(caddyConfig, protocols, set.scheme(), set.port(), secure, strings.Join(set.origins, " "), set.pool())
		file, err := set.write("Caddyfile", text)
		cmd := exec.Command(program, "run", "--config", file, "--adapter", "caddyfile")
		cmd.Env = append(goEnv(set.cores), "HOME="+set.dir, "XDG_DATA_HOME="+set.dir, "XDG_CONFIG_HOME="+set.dir)
		return cmd, err
	})
}
