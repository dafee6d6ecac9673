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
	"text/template"
)

// nginxConfig is filled in with nginxValues. The limits on requests per
// connection are lifted, as no other peer has them. No body goes through a file,
// nor waits until it is complete.
var nginxConfig = template.Must(template.New("nginx.conf").Parse(`daemon {{if .Daemon}}on{{else}}off{{end}};
{{.User}}
worker_processes {{.Cores}};
pid {{.Dir}}/nginx.pid;
error_log /dev/null crit;
events {
	worker_connections {{.Connections}};
}
http {
	access_log {{if .Log}}{{.Log}} combined{{else}}off{{end}};
	client_body_temp_path client_body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	keepalive_timeout 1h;
	keepalive_requests 1000000000;
	upstream origins {
{{- range .Origins}}
		server {{.}} max_fails=0;
{{- end}}
		keepalive {{.Pool}};
		keepalive_requests 1000000000;
		keepalive_timeout 1h;
	}
	server {
		listen {{.Listen}}{{if .TLS}} ssl{{end}}{{if .H2}} http2{{end}} backlog=4096;
{{- if .TLS}}
		ssl_certificate {{.Cert}};
		ssl_certificate_key {{.Key}};
		ssl_protocols TLSv1.3;
		ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
		ssl_session_tickets {{if .Resume}}on{{else}}off{{end}};
{{- end}}
		client_max_body_size 0;
		location / {
{{- if .GRPC}}
			grpc_pass grpc://origins;
			grpc_set_header Host ` + hostWanted + `;
			grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			grpc_set_header X-Forwarded-Proto $scheme;
			grpc_set_header X-Forwarded-Host $host;
{{- else}}
			proxy_pass http://origins;
			proxy_http_version 1.1;
			proxy_set_header Host ` + hostWanted + `;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Forwarded-Host $host;
{{- if .WebSocket}}
			proxy_set_header Connection $connection_upgrade;
			proxy_set_header Upgrade $http_upgrade;
{{- else}}
			proxy_set_header Connection "";
{{- end}}
			proxy_request_buffering off;
			proxy_max_temp_file_size 0;
{{- if .LargeBody}}
			proxy_buffers 8 512k;
			proxy_busy_buffers_size 1m;
{{- end}}
{{- end}}
		}
	}
{{- if .WebSocket}}
	map $http_upgrade $connection_upgrade {
		default upgrade;
		'' '';
	}
{{- end}}
}
`))

// nginxValues is what nginxConfig needs of a setup.
type nginxValues struct {
	Dir, User, Listen, Cert, Key string
	Log                          string // "" for none
	Origins                      []string
	Cores, Connections, Pool     int
	TLS, Resume, H2              bool
	GRPC, WebSocket              bool
	Daemon                       bool // only a master in the background lets its program be replaced
	LargeBody                    bool // buffers above 4 or 8 KiB halve the CPU time for a body of 100 MiB
}

// nginxPeer is nginx with the configuration above.
func nginxPeer(context.Context, workshop) peer {
	p := installed("nginx", "-v", `[0-9]+\.[0-9.]+`, func(program string, set setup) (*exec.Cmd, error) {
		userLine, err := nginxUser()
		if err != nil {
			return nil, err
		}
		values := nginxValues{
			Dir: set.dir, User: userLine, Listen: set.listen, Cert: set.certs.cert, Key: set.certs.key,
			Origins: set.origins, Cores: set.cores, Connections: set.connectionLimit(), Pool: set.pool(),
			TLS: set.access.TLS, Resume: set.access.Resume, H2: set.access.H2,
			GRPC: set.upstream == toGRPC, WebSocket: set.upstream == toWebSocket,
			Daemon: set.event == upgradeEvent, LargeBody: set.body >= largeBody,
		}
		if set.log {
			values.Log = set.logFile()
		}
		if _, err := set.fill("nginx.conf", nginxConfig, values); err != nil {
			return nil, err
		}
		// -e keeps it from opening the log file it was built with.
		return exec.Command(program, "-p", set.dir, "-c", "nginx.conf", "-e", "stderr"), nil
	})
	p.features = featureSet(accessLog, webSocket, gRPC, reloading, upgrading)
	p.happen = nginxHappen
	return p
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
