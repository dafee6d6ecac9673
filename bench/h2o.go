// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
)

// h2oConfig takes, in order: the number of threads, the connections of clients,
// the listening port, the lines for TLS, and the origin.
const h2oConfig = `num-threads: %d
max-connections: %d
error-log: /dev/null
proxy.emit-via-header: OFF
pid-file: /dev/null
http2-idle-timeout: 3600
http1-request-timeout: 3600
http2-max-concurrent-requests-per-connection: 256
listen:
  host: 127.0.0.1
  port: %s
%shosts:
  default:
    paths:
      /:
        proxy.reverse.url: http://%s/
        proxy.preserve-host: OFF
        proxy.header.set: "X-Forwarded-Host: ` + hostSent + `"
        proxy.timeout.keepalive: 3600000
        proxy.timeout.io: 3600000
`

// h2oPeer is h2o with the configuration above. Version 2.2, the last that was
// released, knows no balancing.
func h2oPeer(context.Context, workshop) peer {
	return installed("h2o", "--version", `[0-9]+\.[0-9.]+`, func(program string, set setup) (*exec.Cmd, error) {
		secure := ""
		if set.access.TLS {
			secure = fmt.Sprintf("  ssl:\n    certificate-file: %s\n    key-file: %s\n    minimum-version: TLSv1.3\n    ocsp-update-interval: 0\n", set.certs.cert, set.certs.key)
		}
		file, err := set.write("h2o.conf", fmt.Sprintf(h2oConfig, set.cores, set.conns+64, set.port(), secure, set.origins[0]))
		return exec.Command(program, "-m", "worker", "-c", file), err
	})
}
