// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
)

// envoyConfig takes, in order: the port, the codec of clients, the lines for
// TLS, the most connections and requests to origins, and the endpoints. Envoy
// sets X-Forwarded-For and -Proto by itself and logs no access.
const envoyConfig = `static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %s}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: %s
          use_remote_address: true
          generate_request_id: false
          server_header_transformation: PASS_THROUGH
          route_config:
            request_headers_to_remove: [x-envoy-internal]
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                route: {cluster: origins, timeout: 0s, host_rewrite_literal: ` + hostWanted + `, append_x_forwarded_host: true}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
%s  clusters:
  - name: origins
    type: STATIC
    lb_policy: ROUND_ROBIN
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {max_connections: %[4]d, max_pending_requests: %[4]d, max_requests: %[4]d}
    load_assignment:
      cluster_name: origins
      endpoints:
      - lb_endpoints:
%[5]s`

// envoyTLS takes the protocols for ALPN and the files of certificate and key.
const envoyTLS = `      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          disable_stateless_session_resumption: true
          common_tls_context:
            alpn_protocols: [%s]
            tls_params: {tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [X25519]}
            tls_certificates:
            - {certificate_chain: {filename: %q}, private_key: {filename: %q}}
`

// envoyPeer is Envoy with the configuration above, which follows its
// documentation and has not been run by us yet.
func envoyPeer(context.Context, workshop) peer {
	return installed("envoy", "--version", `[0-9]+\.[0-9]+\.[0-9]+`, func(program string, set setup) (*exec.Cmd, error) {
		file, err := set.write("envoy.yaml", envoyYAML(set))
		return exec.Command(program, "-c", file, "--concurrency", strconv.Itoa(set.cores), "--disable-hot-restart", "--log-level", "off"), err
	})
}

func envoyYAML(set setup) string {
	var endpoints strings.Builder
	for _, origin := range set.origins {
		host, port, _ := net.SplitHostPort(origin)
		fmt.Fprintf(&endpoints, "        - endpoint: {address: {socket_address: {address: %s, port_value: %s}}}\n", host, port)
	}
	codec, secure := "AUTO", ""
	switch {
	case set.access.TLS:
		secure = fmt.Sprintf(envoyTLS, strings.Join(set.access.alpn(), ", "), set.certs.cert, set.certs.key)
	case set.access.H2:
		codec = "HTTP2"
	}
	return fmt.Sprintf(envoyConfig, set.port(), codec, secure, set.connectionLimit(), endpoints.String())
}
