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

// traefikConfig takes, in order: the listening address, the file of the routes
// and the idle connections to keep to each origin. Without accessLog it logs no
// access.
const traefikConfig = `global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: ERROR
entryPoints:
  clients:
    address: %q
    transport:
      respondingTimeouts:
        idleTimeout: 3600s
providers:
  file:
    filename: %q
    watch: false
serversTransport:
  maxIdleConnsPerHost: %d
`

// traefikRoutes takes, in order: the line that makes a router one of TLS, the
// servers and the rest for TLS.
const traefikRoutes = `http:
  routers:
    all:
      entryPoints: [clients]
      rule: "PathPrefix(` + "`/`" + `)"
      middlewares: [host]
      service: origins
%s  middlewares:
    host:
      headers:
        customRequestHeaders:
          Host: ` + hostWanted + `
  services:
    origins:
      loadBalancer:
        passHostHeader: true
        servers:
%s%s`

// traefikTLS takes the files of certificate and key.
const traefikTLS = `tls:
  certificates:
    - certFile: %q
      keyFile: %q
  options:
    default:
      minVersion: VersionTLS13
      curvePreferences: [X25519]
`

// traefikPeer is Traefik with the configuration above, which follows its
// documentation and has not been run by us yet. It sets the X-Forwarded fields
// by itself, with more of them than the others.
func traefikPeer(context.Context, workshop) peer {
	return installed("traefik", "version", `[0-9]+\.[0-9.]+`, func(program string, set setup) (*exec.Cmd, error) {
		var servers strings.Builder
		for _, origin := range set.origins {
			fmt.Fprintf(&servers, "          - url: \"http://%s\"\n", origin)
		}
		router, secure := "", ""
		if set.access.TLS {
			router, secure = "      tls: {}\n", fmt.Sprintf(traefikTLS, set.certs.cert, set.certs.key)
		}
		routes, err := set.write("routes.yaml", fmt.Sprintf(traefikRoutes, router, servers.String(), secure))
		if err != nil {
			return nil, err
		}
		file, err := set.write("traefik.yaml", fmt.Sprintf(traefikConfig, set.listen, routes, set.pool()))
		cmd := exec.Command(program, "--configFile="+file)
		cmd.Env = append(goEnv(set.cores), "HOME="+set.dir)
		return cmd, err
	})
}
