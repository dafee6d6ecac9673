// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestPeerValidate(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, nil }
	addrPort := netip.MustParseAddrPort
	proxy := func(addr string, fields ...string) *ConnectProxy { return &ConnectProxy{Addr: addr, Header: fields} }
	tests := []struct {
		name string
		peer Peer
		want []string // parts of the error, none if there is none
	}{
		{"IPv4", Peer{Addr: "127.0.0.1:80"}, nil},
		{"IPv6", Peer{Addr: "[::1]:65535"}, nil},
		{"name", Peer{Addr: "app.internal:http"}, nil},
		{"Unix", Peer{Addr: "unix:/run/app.sock"}, nil},
		{"own dial", Peer{Addr: "tunnel 7", Dial: dial}, nil},
		{"no address", Peer{}, []string{`Peer.Addr is "", want host:port or unix:/path`}},
		{"no address for own dial", Peer{Dial: dial}, []string{"Peer.Addr is empty"}},
		{"no port", Peer{Addr: "127.0.0.1"}, []string{"want host:port"}},
		{"IPv6 without brackets", Peer{Addr: "::1:80"}, []string{"want host:port"}},
		{"no host", Peer{Addr: ":80"}, []string{"want host:port"}},
		{"host with line end", Peer{Addr: "a\r\nb:80"}, []string{"want host:port"}},
		{"host with space", Peer{Addr: "a b:80"}, []string{"want host:port"}},
		{"port 0", Peer{Addr: "a:0"}, []string{"invalid port"}},
		{"port too large", Peer{Addr: "a:65536"}, []string{"invalid port"}},
		{"unknown port", Peer{Addr: "a:no-such-service"}, []string{"invalid port"}},
		{"no path", Peer{Addr: "unix:"}, []string{"no path"}},

		{"ALPN", Peer{Addr: "a:1", ALPN: ALPNH2 + 1}, []string{"ALPN is 3"}},
		{"limits", Peer{Addr: "a:1", DSCP: 63, RecvBuffer: math.MaxInt32 / 2, SendBuffer: 1,
			KeepAlive: KeepAlive{Idle: maxKeepAlive, Interval: maxKeepAlive, Count: 127, UserTimeout: 1}}, nil},
		{"one past the limits", Peer{Addr: "a:1", DSCP: 64, RecvBuffer: math.MaxInt32/2 + 1, SendBuffer: -1,
			KeepAlive: KeepAlive{Idle: maxKeepAlive + 1, Interval: -1, Count: 128, UserTimeout: -1}},
			[]string{"DSCP is 64", "Buffer is 1073741824", "Buffer is -1", "Idle is 9h6m7.000000001s", "Interval is -1ns", "Count is 128", "UserTimeout is -1ns"}},
		{"no keep-alive", Peer{Addr: "a:1", KeepAlive: KeepAlive{Idle: -time.Second}}, nil},

		{"range of one", Peer{Addr: "a:1", BindTo: addrPort("127.0.0.1:9"), BindPortMax: 9}, nil},
		{"empty range", Peer{Addr: "a:1", BindTo: addrPort("127.0.0.1:9"), BindPortMax: 8}, []string{"BindPortMax is 8"}},
		{"range without start", Peer{Addr: "a:1", BindTo: addrPort("127.0.0.1:0"), BindPortMax: 8}, []string{"BindPortMax is 8"}},
		{"range without address", Peer{Addr: "a:1", BindPortMax: 8}, []string{"BindPortMax is 8"}},
		{"families", Peer{Addr: "127.0.0.1:1", BindTo: addrPort("[::1]:0")}, []string{"not both IPv4 or both IPv6"}},
		{"mapped", Peer{Addr: "[::ffff:127.0.0.1]:1", BindTo: addrPort("127.0.0.1:0")}, nil},
		{"unspecified", Peer{Addr: "127.0.0.1:1", BindTo: addrPort("[::]:0")}, nil},
		{"families, name", Peer{Addr: "a:1", BindTo: addrPort("[::1]:0")}, nil},
		{"families, proxy", Peer{Addr: "127.0.0.1:1", BindTo: addrPort("[::1]:0"), Proxy: proxy("[::1]:1")}, nil},

		{"proxy", Peer{Addr: "a:1", Proxy: proxy("unix:/run/proxy.sock", "X-A", "b", "X-B", "")}, nil},
		{"proxy, own dial", Peer{Addr: "a:1", Proxy: proxy("tunnel"), Dial: dial}, nil},
		{"proxy without address", Peer{Addr: "a:1", Proxy: proxy("")}, []string{"Peer.Proxy.Addr is"}},
		{"proxy to Unix", Peer{Addr: "unix:/a", Proxy: proxy("p:1")}, []string{"Peer.Addr, with Proxy, is"}},
		{"proxy to what is no address", Peer{Addr: "tunnel 7", Proxy: proxy("p:1"), Dial: dial}, []string{"Peer.Addr, with Proxy, is"}},
		{"proxy fields", Peer{Addr: "a:1", Proxy: proxy("p:1", "a b", "", "X-A", "b\r\nc", "host", "x", "X-B")},
			[]string{"without a value", `"a b" is malformed`, `"X-A" is malformed`, "must not have Host"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkProblems(t, tt.peer.Validate(), tt.want) })
	}
}

func TestPeerNames(t *testing.T) {
	tests := []struct{ addr, host, authority string }{
		{"127.0.0.1:80", "127.0.0.1", "127.0.0.1:80"},
		{"[::1]:80", "::1", "[::1]:80"},
		{"app.internal:80", "app.internal", "app.internal:80"},
		{"unix:/run/app.sock", "", "localhost"},
		{"tunnel", "", "localhost"},
		{"", "", "localhost"},
	}
	for _, tt := range tests {
		p := &Peer{Addr: tt.addr}
		check(t, "Host of "+tt.addr, p.Host(), tt.host)
		check(t, "Authority of "+tt.addr, p.Authority(), tt.authority)
	}
}

// BenchmarkPeerValidate is what a dial pays for clear errors.
func BenchmarkPeerValidate(b *testing.B) {
	p := &Peer{Addr: "127.0.0.1:8080"}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}
