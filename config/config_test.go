// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/belay-proxy/belay/config"
)

func ExampleParse() {
	const file = `
threads: 2
limits:
  rate: 100
  body: 1MiB
`
	var limits struct {
		Rate int           `yaml:"rate,required" min:"1"`
		Wait time.Duration `yaml:"wait" default:"50ms"`
		Body int64         `yaml:"body" unit:"bytes"`
	}
	cfg, err := config.Parse("conf.yaml", []byte(file), config.Section{Key: "limits", Value: &limits})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cfg.Threads, cfg.MaxRetries, limits.Rate, limits.Wait, limits.Body)
	// Output: 2 3 100 50ms 1048576
}

func ExampleProblems() {
	_, err := config.Parse("conf.yaml", []byte("thread: 2\nmax_retries: many\n"))
	for _, p := range config.Problems(err) {
		fmt.Println(p)
	}
	// Output:
	// conf.yaml:1:1: thread is not a known key, did you mean "threads"?
	// conf.yaml:2:14: max_retries is wrong: want a whole number, got "many"
}

func TestDefaults(t *testing.T) {
	want := config.Config{
		Version:                            1,
		ListenerTasksPerFD:                 1,
		GracePeriod:                        300 * time.Second,
		GracefulShutdownTimeout:            5 * time.Second,
		UpstreamKeepalivePoolSize:          8192,
		MaxRetries:                         3,
		UpgradeSockConnectAcceptMaxRetries: 5,
		DaemonReadyTimeout:                 600 * time.Second,
		DaemonNotifyTimeout:                60 * time.Second,
	}
	if got := (config.Config{}).WithDefaults(); !reflect.DeepEqual(got, want) {
		t.Errorf("WithDefaults = %+v, want %+v", got, want)
	}
	got, err := config.Parse("f", nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Parse of nothing = %+v, %v, want %+v", got, err, want)
	}
	set := config.Config{MaxRetries: -1, GracePeriod: -1}
	if got := set.WithDefaults(); got.MaxRetries != -1 || got.GracePeriod != -1 {
		t.Errorf("WithDefaults changed what was set: %+v", got)
	}
}

// TestLoad reads every key.
func TestLoad(t *testing.T) {
	const text = `---
version: 1
daemon: true
error_log: /tmp/err.log
pid_file: /tmp/a.pid
upgrade_sock: /tmp/a.sock
user: nobody
group: 65534
working_directory: /srv
threads: 2
listener_tasks_per_fd: 3
work_stealing: true
ca_file: ca.pem
grace_period_seconds: 30
graceful_shutdown_timeout_seconds: 4
client_bind_to_ipv4: [127.0.0.2]
client_bind_to_ipv6:
  - ::1
upstream_keepalive_pool_size: 4
upstream_connect_offload_threadpools: 2
upstream_connect_offload_thread_per_pool: 5
upstream_debug_ssl_keylog: true
max_retries: 6
upgrade_sock_connect_accept_max_retries: 7
max_blocking_threads: 8
blocking_threads_ttl_seconds: 9
daemon_wait_for_ready: true
daemon_ready_timeout_seconds: 10
daemon_notify_timeout_seconds: 11
s2n_config_cache_size: 12
admin_listen: 127.0.0.1:9901
`
	want := config.Config{
		Version: 1, Daemon: true, ErrorLog: "/tmp/err.log", PIDFile: "/tmp/a.pid", UpgradeSock: "/tmp/a.sock",
		User: "nobody", Group: "65534", WorkingDirectory: "/srv", Threads: 2, ListenerTasksPerFD: 3,
		WorkStealing: true, CAFile: "ca.pem", GracePeriod: 30 * time.Second, GracefulShutdownTimeout: 4 * time.Second,
		ClientBindToIPv4:          []netip.Addr{netip.MustParseAddr("127.0.0.2")},
		ClientBindToIPv6:          []netip.Addr{netip.IPv6Loopback()},
		UpstreamKeepalivePoolSize: 4, UpstreamConnectOffloadThreadpools: 2, UpstreamConnectOffloadThreadPerPool: 5,
		UpstreamDebugSSLKeylog: true, MaxRetries: 6, UpgradeSockConnectAcceptMaxRetries: 7, MaxBlockingThreads: 8,
		BlockingThreadsTTL: 9 * time.Second, DaemonWaitForReady: new(true), DaemonReadyTimeout: 10 * time.Second,
		DaemonNotifyTimeout: 11 * time.Second, S2NConfigCacheSize: 12, AdminListen: "127.0.0.1:9901",
	}
	for i := range reflect.ValueOf(want).NumField() {
		if reflect.ValueOf(want).Field(i).IsZero() {
			t.Errorf("%s is not in this test", reflect.TypeFor[config.Config]().Field(i).Name)
		}
	}
	file := filepath.Join(t.TempDir(), "conf.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Load = %+v, %v, want %+v", got, err, want)
	}
	if _, err := config.Load(file + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, want not exist", err)
	}
}

func TestConfigProblems(t *testing.T) {
	tests := []struct{ in, want string }{
		{"version: 2", "f:1:10: version is 2, want at most 1"},
		{"threads: -1", "f:1:10: threads is -1, want at least 1"},
		{"max_blocking_threads: 0", "f:1:23: max_blocking_threads is 0, want at least 1"},
		{"blocking_threads_ttl_seconds: 0", "f:1:31: blocking_threads_ttl_seconds is 0, want at least 1s"},
		{"grace_period_seconds: 0", "f:1:23: grace_period_seconds is 0, which would mean the default, 300s: " +
			"leave the key out for that, or write -1 for none"},
		{"max_retries: 1001", "f:1:14: max_retries is 1001, want at most 100"},
		{"client_bind_to_ipv4: [127.0.0.1, '::1']", "f:1:34: client_bind_to_ipv4[1] is ::1, want an IPv4 address"},
		{"client_bind_to_ipv6:\n- 127.0.0.1", "f:2:3: client_bind_to_ipv6[0] is 127.0.0.1, want an IPv6 address"},
		{"admin_listen: 0.0.0.0:80", `f:1:15: admin_listen is "0.0.0.0:80", want unix: and a path, or a loopback address and a port: ` +
			"anybody could reach it elsewhere"},
		{"admin_listen: unix:a", `f:1:15: admin_listen is "unix:a", want an absolute path after unix:`},
		{"client_bind_to_ipv4: [x]", `f:1:23: client_bind_to_ipv4[0] is wrong: ParseAddr("x"): unable to parse IP`},
	}
	for _, tt := range tests {
		if _, err := config.Parse("f", []byte(tt.in)); fmt.Sprint(err) != tt.want {
			t.Errorf("Parse(%q):\n got %v\nwant %s", tt.in, err, tt.want)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := (config.Config{}).Validate(); err != nil {
		t.Errorf("the zero Config is invalid: %v", err)
	}
	bad := config.Config{Threads: -1, MaxRetries: 5000, ClientBindToIPv4: []netip.Addr{netip.IPv6Loopback()}}
	const want = "threads is -1, want at least 1\n" +
		"max_retries is 5000, want at most 100\n" +
		"client_bind_to_ipv4[0] is ::1, want an IPv4 address"
	if got := fmt.Sprint(bad.Validate()); got != want {
		t.Errorf("Validate:\n got %s\nwant %s", got, want)
	}
}

func TestSections(t *testing.T) {
	type section struct {
		Rate int `yaml:"rate" default:"9"`
	}
	const file = "threads: 2\nmine:\n  rate: 5\n"
	tests := []struct {
		name     string
		in       string
		sections []config.Section
		want     string // of the error
		rate     int
	}{
		{"there", file, []config.Section{{Key: "mine", Value: new(section)}}, "", 5},
		{"not there", "threads: 1", []config.Section{{Key: "mine", Value: new(section)}}, "", 9},
		{"required", "threads: 1", []config.Section{{Key: "mine", Value: new(section), Required: true}}, "f:1:1: mine is missing", 0},
		{"required, empty file", "", []config.Section{{Key: "mine", Value: new(section), Required: true}}, "f:1:1: mine is missing", 0},
		{"not declared", file, nil, "f:2:1: mine is not a known key", 0},
		{"wrong key inside", "mine: {rat: 5}", []config.Section{{Key: "mine", Value: new(section)}},
			`f:1:8: mine.rat is not a known key, did you mean "rate"?`, 0},
		{"key taken", "", []config.Section{{Key: "threads", Value: new(section)}}, `config: section "threads"`, 0},
		{"no pointer", "", []config.Section{{Key: "mine", Value: section{}}}, `config: section "mine"`, 0},
	}
	for _, tt := range tests {
		_, err := config.Parse("f", []byte(tt.in), tt.sections...)
		if tt.want != "" {
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%s: Parse = %v, want %s", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: Parse = %v", tt.name, err)
		} else if got := tt.sections[0].Value.(*section).Rate; got != tt.rate {
			t.Errorf("%s: rate = %d, want %d", tt.name, got, tt.rate)
		}
	}
}

func TestPIDFile(t *testing.T) {
	tests := []struct{ in, want, err string }{
		{"pid_file: /run/a.pid\nunknown: 1\n", "/run/a.pid", ""},
		{"threads: 1", "", ""},
		{"", "", ""},
		{"# nothing", "", ""},
		{"---", "", ""},
		{"pid_file:", "", ""},
		{"[1]", "", "conf.yaml:1:1: the file is a list, want a mapping"},
		{"no configuration", "", `conf.yaml:1:1: the file is "no configuration", want a mapping`},
		{"pid_file: [a]", "", "conf.yaml:1:11: pid_file is a list, want a single value"},
		{"a: [", "", "not valid YAML"},
	}
	for _, tt := range tests {
		file := filepath.Join(t.TempDir(), "conf.yaml")
		if err := os.WriteFile(file, []byte(tt.in), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.PIDFile(file)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("PIDFile of %q = %q, %v, want %q, %q", tt.in, got, err, tt.want, tt.err)
		}
	}
	if _, err := config.PIDFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("PIDFile of no file = %v, want that it does not exist", err)
	}
}
