// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"crypto/tls"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/http1"
)

func TestConfigValidate(t *testing.T) {
	addr := netip.MustParseAddr
	tests := []struct {
		name string
		cfg  Config
		want []string // parts of the error, none if there is none
	}{
		{"zero", Config{}, nil},
		{"no limits", Config{ConnectTimeout: -1, ReadTimeout: -1, WriteTimeout: -1, IdleTimeout: -1, MaxIdlePerPeer: -1, MaxIdle: -1}, nil},
		{"shortest idle timeout", Config{IdleTimeout: time.Second}, nil},
		{"idle timeout", Config{IdleTimeout: time.Second - 1}, []string{"IdleTimeout is 999.999999ms, want at least 1s"}},
		{"bind", Config{BindIPv4: []netip.Addr{addr("127.0.0.1")}, BindIPv6: []netip.Addr{addr("::1")}}, nil},
		{"all at once", Config{
			IdleTimeout: 1,
			BindIPv4:    []netip.Addr{addr("::1"), {}},
			BindIPv6:    []netip.Addr{addr("127.0.0.1"), addr("::ffff:127.0.0.1"), addr("fe80::1%eth0")},
			Limits:      http1.Limits{MaxHeadBytes: 1},
		}, []string{"IdleTimeout", "BindIPv4 has ::1", "BindIPv4 has invalid IP", "BindIPv6 has 127.0.0.1",
			"BindIPv6 has ::ffff:127.0.0.1", "BindIPv6 has fe80::1%eth0", "MaxHeadBytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.cfg.Validate()
			checkProblems(t, err, tt.want)
			if _, newErr := New(tt.cfg); (newErr == nil) != (err == nil) {
				t.Errorf("New = %v, want %v", newErr, err)
			}
		})
	}
}

// checkProblems fails t if err does not name exactly the wanted problems.
func checkProblems(t *testing.T, err error, want []string) {
	t.Helper()
	var got []string
	if err != nil {
		got = strings.Split(err.Error(), "\n")
	}
	if len(got) != len(want) {
		t.Fatalf("%d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("problem %d is %q, want %q", i, got[i], want[i])
		}
	}
}

// withDefaults leaves no field at zero but those whose zero means something.
func TestConfigDefaults(t *testing.T) {
	optional := map[string]bool{"Dial": true, "BindIPv4": true, "BindIPv6": true, "RootCAs": true, "KeyLog": true, "Limits": true}
	v := reflect.ValueOf(Config{}.withDefaults())
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() != optional[name] {
			t.Errorf("default of %s = %v", name, v.Field(i))
		}
	}
}

// otherFields are those in which Peers may differ and share connections: they
// only matter while connecting.
var otherFields = map[string]bool{"ConnectTimeout": true, "TotalConnectTimeout": true}

// Peers that differ in a field do not share connections, whatever fields there
// will be.
func TestIdentity(t *testing.T) {
	base := Peer{Addr: "a:1", TLS: true}
	v := reflect.ValueOf(&base).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		t.Run(field.Name, func(t *testing.T) {
			changed := base
			f := reflect.ValueOf(&changed).Elem().Field(i)
			changeField(t, f)
			check(t, "identity is the same", changed.identity() == base.identity(), otherFields[field.Name])
			again := changed
			isFunc := f.Kind() == reflect.Func || f.Kind() == reflect.Interface
			check(t, "identity of a copy is the same", again.identity() == changed.identity(), !isFunc)
		})
	}
}

// changeField sets a field to another value.
func changeField(t *testing.T, f reflect.Value) {
	switch v := f.Addr().Interface().(type) {
	case *netip.AddrPort:
		*v = netip.MustParseAddrPort("127.0.0.1:0")
		return
	case *KeepAlive:
		v.Idle = 1
		return
	case *Tracer:
		*v = &countTracer{}
		return
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString(f.String() + "1")
	case reflect.Bool:
		f.SetBool(!f.Bool())
	case reflect.Int, reflect.Int64:
		f.SetInt(1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		f.SetUint(1)
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
	case reflect.Func:
		f.Set(reflect.MakeFunc(f.Type(), func([]reflect.Value) []reflect.Value { return nil }))
	default:
		t.Fatalf("no other value for type %v", f.Type())
	}
}

// Without TLS its settings do not keep connections apart.
func TestIdentityPlain(t *testing.T) {
	plain := Peer{Addr: "a:1"}
	named := Peer{Addr: "a:1", ServerName: "b", AlternativeName: "c", InsecureSkipVerify: true, ClientCert: &tls.Certificate{}, ALPN: ALPNH2}
	check(t, "identity is the same", plain.identity() == named.identity(), true)
}

// A copy of a Peer is a Peer of its own, though the original was found before.
func TestCopiedPeer(t *testing.T) {
	c := newConnector(t, Config{})
	p := &Peer{Addr: "a:1"}
	for range 2 {
		plainConn(c, p).keep(time.Now())
	}
	if c.Idle(p, nil) == nil {
		t.Error("Idle = nil for the peer itself")
	}
	other := *p
	other.Group = 1
	if conn := c.Idle(&other, nil); conn != nil {
		t.Error("a peer of another group gets the connection")
	}
	same := *p
	if c.Idle(&same, nil) == nil {
		t.Error("Idle = nil for an equal peer")
	}
}

func TestReleaseUnclean(t *testing.T) {
	tests := []struct {
		name   string
		answer string
		use    func(t *testing.T, conn *Conn)
		want   int64 // idle connections
	}{
		{"clean", ok, func(t *testing.T, conn *Conn) { exchange(t, conn) }, 1},
		{"nothing sent", ok, func(*testing.T, *Conn) {}, 0},
		{"peer closes", okThenClose, func(t *testing.T, conn *Conn) { exchange(t, conn) }, 0},
		{"body not read", ok, func(t *testing.T, conn *Conn) {
			var res header.Response
			conn.WriteHead(&header.Request{Method: "GET", Target: "/"}, "", false, true)
			if err := conn.SendAndReadHead(&res); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"more than the response", ok + "HTTP/1.1 200 OK\r\n\r\n", func(t *testing.T, conn *Conn) { exchange(t, conn) }, 0},
		{"killed", ok, func(t *testing.T, conn *Conn) { exchange(t, conn); conn.Kill() }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &origin{answer: tt.answer}
				c := newConnector(t, Config{Dial: o.dial})
				conn, err := c.Get(t.Context(), &Peer{Addr: "a:1"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				tt.use(t, conn)
				conn.Release(time.Now())
				synctest.Wait()
				check(t, "Stats.Idle", c.Stats().Idle, tt.want)
				check(t, "open connections", o.open.Load(), tt.want)
			})
		})
	}
}

func TestReleaseTwice(t *testing.T) {
	for name, first := range map[string]func(*Conn){
		"Release": func(conn *Conn) { conn.Release(time.Now()) },
		"Discard": func(conn *Conn) { conn.Discard(); conn.Discard() },
	} {
		t.Run("after "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tracer := &countTracer{}
				o := &origin{answer: ok}
				c := newConnector(t, Config{Dial: o.dial})
				conn := get(t, c, &Peer{Addr: "a:1", Tracer: tracer})
				first(conn)
				defer func() {
					if recover() == nil {
						t.Error("another Release does not panic")
					}
					c.Close()
					check(t, "connections closed", tracer.disconnected.Load(), 1)
				}()
				conn.Release(time.Now())
			})
		})
	}
}

// What an idle connection has got from its origin shows before it is used, and
// in the sweep.
func TestDeadAndChattyConnections(t *testing.T) {
	faults := []struct {
		name string
		do   func(*net.TCPConn)
		want Stats
	}{
		{"nothing", func(*net.TCPConn) {}, Stats{Dialed: 1, Idle: 1}},
		{"closed", func(nc *net.TCPConn) { nc.Close() }, Stats{Dialed: 1, Stale: 1}},
		{"half-closed", func(nc *net.TCPConn) { nc.CloseWrite() }, Stats{Dialed: 1, Stale: 1}},
		{"reset", func(nc *net.TCPConn) { nc.SetLinger(0); nc.Close() }, Stats{Dialed: 1, Stale: 1}},
		{"chatty", func(nc *net.TCPConn) { nc.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n")) }, Stats{Dialed: 1, Chatty: 1}},
		{"chatty and closed", func(nc *net.TCPConn) { nc.Write([]byte{'\n'}); nc.Close() }, Stats{Dialed: 1, Chatty: 1}},
	}
	finders := map[string]func(c *Connector, p *Peer){
		"Idle": func(c *Connector, p *Peer) {
			if conn := c.Idle(p, nil); conn != nil {
				exchange(t, conn)
				conn.Release(time.Now())
				c.stats.reused.Add(-1)
			}
		},
		"sweep": func(c *Connector, _ *Peer) { c.pool.sweep() },
	}
	for finder, find := range finders {
		for _, fault := range faults {
			t.Run(finder+"/"+fault.name, func(t *testing.T) {
				t.Parallel()
				o := &origin{answer: ok}
				tracer := &countTracer{}
				p := &Peer{Addr: o.listen(t, "tcp", "127.0.0.1:0"), Tracer: tracer}
				c := newConnector(t, Config{})
				get(t, c, p).Release(time.Now().Add(-sweepInterval))
				fault.do(o.last().(*net.TCPConn))
				eventually(t, "connection is found "+fault.name, func() bool {
					find(c, p)
					return c.Stats() == fault.want
				})
				check(t, "connections closed", tracer.disconnected.Load(), 1-fault.want.Idle)
			})
		}
	}
}

func TestConnFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: ok}
		c := newConnector(t, Config{Dial: o.dial})
		p := &Peer{Addr: "a:1"}
		conn := get(t, c, p)
		check(t, "Reused of a new connection", conn.Reused(), false)
		check(t, "Peer", conn.Peer(), p)
		conn.Release(time.Now())
		conn = get(t, c, p)
		check(t, "Reused", conn.Reused(), true)
		conn.Discard()
	})
}

func TestAllowInvalidContentLength(t *testing.T) {
	for _, allow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			o := &origin{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nhi"}
			c := newConnector(t, Config{Dial: o.dial})
			conn, err := c.Get(t.Context(), &Peer{Addr: "a:1", AllowInvalidContentLength: allow}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Discard()
			conn.WriteHead(&header.Request{Method: "GET", Target: "/"}, "", false, true)
			var res header.Response
			if err := conn.SendAndReadHead(&res); (err == nil) != allow {
				t.Errorf("allowed %v: response = %v", allow, err)
			}
			check(t, "Reusable", conn.Reusable(), false)
		})
	}
}

// ReadTimeout of the peer takes precedence over that of the Connector.
func TestReadTimeout(t *testing.T) {
	tests := []struct{ config, peer, want time.Duration }{
		{0, 0, time.Minute},
		{time.Second, 0, time.Second},
		{time.Second, time.Hour, time.Hour},
	}
	for _, tt := range tests {
		c := newConnector(t, Config{Dial: (&origin{answer: ok}).dial, ReadTimeout: tt.config, WriteTimeout: tt.config})
		conn := get(t, c, &Peer{Addr: "a:1", ReadTimeout: tt.peer, WriteTimeout: tt.peer})
		check(t, "ReadTimeout", conn.cfg.ReadTimeout, tt.want)
		check(t, "WriteTimeout", conn.cfg.WriteTimeout, tt.want)
		conn.Discard()
	}
}
