// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// trafficServerRecords takes, in order: the directory for all files, the number
// of threads, the most connections, and the listening port with its options.
// Without a cache it forwards every request.
const trafficServerRecords = `CONFIG proxy.config.config_dir STRING %[1]s
CONFIG proxy.config.local_state_dir STRING %[1]s
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT %[2]d
CONFIG proxy.config.exec_thread.affinity INT 0
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.net.connections_throttle INT %[3]d
CONFIG proxy.config.net.max_connections_in INT %[3]d
CONFIG proxy.config.net.listen_backlog INT 4096
CONFIG proxy.config.http.server_ports STRING %[4]s
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 3600
CONFIG proxy.config.http.keep_alive_no_activity_timeout_out INT 3600
CONFIG proxy.config.http2.no_activity_timeout_in INT 3600
CONFIG proxy.config.http2.max_concurrent_streams_in INT 256
CONFIG proxy.config.http.insert_client_ip INT 0
CONFIG proxy.config.http.insert_squid_x_forwarded_for INT 1
CONFIG proxy.config.http.insert_request_via_str INT 0
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.http.insert_age_in_response INT 0
CONFIG proxy.config.http.normalize_ae INT 0
CONFIG proxy.config.http.response_server_enabled INT 0
CONFIG proxy.config.http.parent_proxy.self_detect INT 0
CONFIG proxy.config.http.no_dns_just_forward_to_parent INT 1
CONFIG proxy.config.http.uncacheable_requests_bypass_parent INT 0
CONFIG proxy.config.url_remap.pristine_host_hdr INT 0
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.diags.debug.enabled INT 0
CONFIG proxy.config.ssl.server.cipher_suite STRING ECDHE-ECDSA-AES128-GCM-SHA256
CONFIG proxy.config.ssl.server.TLSv1_3.cipher_suites STRING TLS_AES_128_GCM_SHA256
CONFIG proxy.config.ssl.server.groups_list STRING X25519
CONFIG proxy.config.ssl.server.session_ticket.enable INT 0
CONFIG proxy.config.ssl.server.session_ticket.number INT 0
CONFIG proxy.config.ssl.session_cache INT 0
CONFIG proxy.config.ssl.TLSv1_2 INT 0
`

// trafficServerHeaders takes the scheme. Traffic Server sets X-Forwarded-For by
// itself.
const trafficServerHeaders = `cond %%{READ_REQUEST_HDR_HOOK}
set-header X-Forwarded-Host %%{HEADER:Host}
set-header X-Forwarded-Proto %s
`

// trafficServerPeer is Apache Traffic Server with the configuration above. The
// origins are its parents, which it uses in turn.
func trafficServerPeer(context.Context, workshop) peer {
	return installed("traffic_server", "--version", `[0-9]+\.[0-9.]+`, func(program string, set setup) (*exec.Cmd, error) {
		if err := writeTrafficServer(set); err != nil {
			return nil, err
		}
		cmd := exec.Command(program)
		cmd.Dir = set.dir
		cmd.Env = append(os.Environ(), "PROXY_CONFIG_CONFIG_DIR="+set.dir, "PROXY_CONFIG_LOCAL_STATE_DIR="+set.dir)
		return cmd, nil
	})
}

// writeTrafficServer writes the files of the configuration.
func writeTrafficServer(set setup) error {
	headers := filepath.Join(set.dir, "headers.config")
	files := map[string]string{
		"records.config":       fmt.Sprintf(trafficServerRecords, set.dir, set.cores, set.connectionLimit(), trafficServerPort(set)),
		"headers.config":       fmt.Sprintf(trafficServerHeaders, set.scheme()),
		"plugin.config":        "header_rewrite.so " + headers + "\n",
		"remap.config":         "map / http://" + hostWanted + "/\n",
		"parent.config":        fmt.Sprintf("dest_domain=. parent=\"%s\" round_robin=strict go_direct=false parent_is_proxy=false\n", strings.Join(set.origins, ";")),
		"ip_allow.yaml":        "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n",
		"storage.config":       "",
		"sni.yaml":             "",
		"logging.yaml":         "",
		"strategies.yaml":      "",
		"ssl_multicert.config": fmt.Sprintf("dest_ip=* ssl_cert_name=%s ssl_key_name=%s\n", set.certs.cert, set.certs.key),
	}
	for name, text := range files {
		if _, err := set.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

// trafficServerPort returns the port with its options.
func trafficServerPort(set setup) string {
	port := set.port() + ":ip-in=127.0.0.1"
	if set.access.TLS {
		port += ":ssl"
	}
	if set.access.H2 {
		return port + ":proto=http2;http"
	}
	return port + ":proto=http"
}
