// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// haproxyConfig is filled in with haproxyValues. The sizes of its pools stay as
// they are by default. With strict limits it would not start if maxconn needed
// more descriptors than it may have.
var haproxyConfig = template.Must(template.New("haproxy.cfg").Parse(`global
	maxconn {{.Maxconn}}
	nbthread {{.Cores}}
	no strict-limits
	hard-stop-after {{.HardStop}}
{{- if .Log}}
	log stdout len 4096 format raw local0
{{- end}}
defaults
	mode http
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	timeout http-keep-alive 1h
	option http-keep-alive
	http-reuse always
{{- if .Log}}
	log global
	option httplog
{{- end}}
frontend clients
	bind {{.Bind}}
	default_backend origins
backend origins
	balance roundrobin
{{- if .LargeBody}}
	option splice-request
	option splice-response
{{- end}}
	option forwardfor
	http-request set-header X-Forwarded-Proto {{.Scheme}}
	http-request set-header X-Forwarded-Host %[req.hdr(host)]
	http-request set-header Host ` + hostWanted + `
{{- range $i, $origin := .Origins}}
	server o{{$i}} {{$origin}}{{if $.H2Upstream}} proto h2{{end}}
{{- end}}
`))

// haproxyValues is what haproxyConfig needs of a setup.
type haproxyValues struct {
	Bind, Scheme, HardStop string
	Origins                []string
	Cores, Maxconn         int
	Log                    bool // to standard output
	H2Upstream             bool

	// LargeBody has the kernel move bodies, which halves the CPU time for one
	// of 1 MiB. The option splice-auto changes nothing, as HAProxy does not
	// take this load for a stream.
	LargeBody bool
}

// haproxyPeer is HAProxy with the configuration above.
func haproxyPeer(context.Context, workshop) peer {
	p := installed("haproxy", "-v", `[0-9]+\.[0-9.]+[^ ]*`, haproxyCommand)
	p.features = featureSet(accessLog, h2Upstream, webSocket, gRPC, reloading, upgrading)
	p.happen = haproxyHappen
	return p
}

func haproxyCommand(program string, set setup) (*exec.Cmd, error) {
	values := haproxyValues{
		Bind: haproxyBind(set), Scheme: set.scheme(), HardStop: "1s", Origins: set.origins, Cores: set.cores, Maxconn: haproxyMaxconn(set),
		Log: set.log, H2Upstream: set.upstream == toH2 || set.upstream == toGRPC, LargeBody: set.body >= largeBody,
	}
	args := []string{"-db", "-q"} // -db: one process, in the foreground
	if set.event != noEvent {
		values.HardStop = "10s" // old workers may finish
		args = []string{"-W", "-q", "-p", filepath.Join(set.dir, "haproxy.pid")}
	}
	file, err := set.fill("haproxy.cfg", haproxyConfig, values)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, append(args, "-f", file)...)
	if set.log {
		out, err := os.Create(set.logFile())
		if err != nil {
			return nil, err
		}
		cmd.Stdout = out // start closes it
	}
	return cmd, nil
}

// haproxyBind returns the address with its options: without tickets, unless
// clients resume.
func haproxyBind(set setup) string {
	bind := set.listen + " backlog 4096"
	switch {
	case set.access.TLS:
		bind += " ssl crt " + set.certs.both + " alpn " + strings.Join(set.access.alpn(), ",") +
			" ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256"
		if !set.access.Resume {
			bind += " no-tls-tickets"
		}
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
	return max(set.conns+64, min(8*(set.conns+len(set.origins))+4096, set.descriptors/2-256))
}
