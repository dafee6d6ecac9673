// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"strings"
	"time"
)

// Config are the settings of a server: the top level of its file. The zero
// Config is ready to use. Zero means the default, negative means off or
// unlimited.
//
// The keys are those of Pingora, so that its files can be used. Some have no
// effect here, because the Go runtime does by itself what they tune.
type Config struct {
	// Version is the version of the file format. Zero means 1, which is the
	// only one.
	Version int `yaml:"version" default:"1" min:"1" max:"1"`

	// Daemon runs the program in the background, as the option -d does.
	Daemon bool `yaml:"daemon"`

	// ErrorLog is the file that a daemon appends its log to, and that it
	// opens again on SIGUSR1. Empty means that the log is shown until the
	// daemon is ready, and dropped after that, unless standard error leads
	// to the journal of the service manager. In the foreground it has an
	// effect only if it is /dev/stdout.
	ErrorLog string `yaml:"error_log"`

	// PIDFile is the file that a daemon writes its process id to, keeps
	// locked, and removes at its end. Empty means a file in the private
	// runtime directory of the program, /run/belay/belay.pid for example. It
	// has no effect in the foreground.
	PIDFile string `yaml:"pid_file"`

	// UpgradeSock is the Unix socket over which an old process hands its
	// listeners to a new one. It must be the same for both. Empty means a
	// socket in the private runtime directory of the program.
	UpgradeSock string `yaml:"upgrade_sock"`

	// User is the name or number of the user that the server continues as
	// once its listeners are bound, in the background or not, with all the
	// groups of that user. Only root can do that. Empty means that it stays
	// who it is.
	User string `yaml:"user"`

	// Group is the name or number of the group that the server continues in,
	// likewise. Empty means the group of User.
	Group string `yaml:"group"`

	// WorkingDirectory is the directory that a daemon changes to, after it
	// has read its configuration. Empty means that it stays where it was
	// started, so that relative paths keep their meaning.
	WorkingDirectory string `yaml:"working_directory"`

	// Threads is how many threads run Go code at the same time
	// (GOMAXPROCS), for the whole process. Zero means as many as there are
	// processors, or fewer if the CPU quota of the control group is less.
	Threads int `yaml:"threads" min:"1" max:"4096"`

	// ListenerTasksPerFD is how many accept loops run for each listener.
	// Zero means 1, which is right unless a connection filter is slow.
	ListenerTasksPerFD int `yaml:"listener_tasks_per_fd" default:"1" min:"1" max:"1024"`

	// WorkStealing has no effect: the threads of a Go program always take
	// work from each other.
	WorkStealing bool `yaml:"work_stealing"`

	// CAFile is a PEM file with the certificates that verify upstreams.
	// Empty means those of the system.
	CAFile string `yaml:"ca_file"`

	// GracePeriod bounds how long a graceful shutdown waits for exchanges in
	// hand. It ends as soon as the last one is done. In the file a number is
	// in seconds. Zero means 300 seconds; negative means that what is in
	// hand is cut off at once.
	GracePeriod time.Duration `yaml:"grace_period_seconds,notzero" unit:"s" default:"300s"`

	// GracefulShutdownTimeout bounds how long background services may take
	// to end, once the connections are gone. In the file a number is in
	// seconds. Zero means 5 seconds; negative means no limit.
	GracefulShutdownTimeout time.Duration `yaml:"graceful_shutdown_timeout_seconds,notzero" unit:"s" default:"5s"`

	// ClientBindToIPv4 are local addresses for connections to upstreams
	// that have an IPv4 address. One is chosen for each connection. Empty
	// means that the system chooses.
	ClientBindToIPv4 []netip.Addr `yaml:"client_bind_to_ipv4"`

	// ClientBindToIPv6 are local addresses for connections to upstreams
	// that have an IPv6 address, likewise.
	ClientBindToIPv6 []netip.Addr `yaml:"client_bind_to_ipv6"`

	// UpstreamKeepalivePoolSize is how many idle upstream connections are
	// kept for reuse, in the whole process. Zero means 8192; negative keeps
	// none.
	UpstreamKeepalivePoolSize int `yaml:"upstream_keepalive_pool_size,notzero" default:"8192"`

	// UpstreamConnectOffloadThreadpools has no effect: dialing never holds
	// up other work.
	UpstreamConnectOffloadThreadpools int `yaml:"upstream_connect_offload_threadpools" min:"1"`

	// UpstreamConnectOffloadThreadPerPool has no effect, likewise.
	UpstreamConnectOffloadThreadPerPool int `yaml:"upstream_connect_offload_thread_per_pool" min:"1"`

	// UpstreamDebugSSLKeylog writes the keys of upstream TLS connections to
	// the file named by the environment variable SSLKEYLOGFILE, so that
	// captured traffic can be read. For debugging only.
	UpstreamDebugSSLKeylog bool `yaml:"upstream_debug_ssl_keylog"`

	// MaxRetries is how many more attempts a request may make after the
	// first. Zero means 3; negative means none.
	MaxRetries int `yaml:"max_retries,notzero" default:"3" max:"100"`

	// UpgradeSockConnectAcceptMaxRetries is how many times each side of an
	// upgrade tries, once per second, to reach the other. Zero means 5;
	// negative means one try only.
	UpgradeSockConnectAcceptMaxRetries int `yaml:"upgrade_sock_connect_accept_max_retries,notzero" default:"5" max:"3600"`

	// MaxBlockingThreads has no effect: threads for blocking calls are made
	// as they are needed.
	MaxBlockingThreads int `yaml:"max_blocking_threads,notzero" min:"1"`

	// BlockingThreadsTTL has no effect, likewise. In the file a number is in
	// seconds.
	BlockingThreadsTTL time.Duration `yaml:"blocking_threads_ttl_seconds,notzero" unit:"s" min:"1s"`

	// DaemonWaitForReady makes the command that starts a daemon wait until
	// the daemon is ready to serve, and fail with its error if it cannot be.
	// Left out means true; with false the command only starts it.
	DaemonWaitForReady *bool `yaml:"daemon_wait_for_ready"`

	// DaemonReadyTimeout bounds that wait. A daemon that is not ready by then
	// is ended. In the file a number is in seconds. Zero means 600 seconds;
	// negative means no limit.
	DaemonReadyTimeout time.Duration `yaml:"daemon_ready_timeout_seconds,notzero" unit:"s" default:"600s"`

	// DaemonNotifyTimeout has no effect: telling the command that started it
	// that it is ready never keeps a daemon waiting. In the file a number is
	// in seconds.
	DaemonNotifyTimeout time.Duration `yaml:"daemon_notify_timeout_seconds,notzero" unit:"s" default:"60s"`

	// S2NConfigCacheSize has no effect: the TLS configuration of a peer is
	// made once.
	S2NConfigCacheSize int `yaml:"s2n_config_cache_size" min:"0"`

	// AdminListen is where the server answers questions about its health, in
	// HTTP/1.1: /healthz, /readyz and /status. It is unix: and a path, for
	// root and the user of the server only, or a loopback address such as
	// 127.0.0.1:9901. Empty means nowhere.
	AdminListen string `yaml:"admin_listen"`
}

// Validate returns every problem with c, joined, or nil. Each is an [*Error];
// Field says which key it is about. [Load] has called it.
func (c Config) Validate() error {
	p := checkTags(&c)
	for i, a := range c.ClientBindToIPv4 {
		if !a.Is4() {
			p = append(p, fieldErrorf(elem("client_bind_to_ipv4", i), "is %v, want an IPv4 address", a))
		}
	}
	for i, a := range c.ClientBindToIPv6 {
		if !a.Is6() || a.Is4In6() {
			p = append(p, fieldErrorf(elem("client_bind_to_ipv6", i), "is %v, want an IPv6 address", a))
		}
	}
	if err := checkAdminListen(c.AdminListen); err != "" {
		p = append(p, fieldErrorf("admin_listen", "is %q, %s", c.AdminListen, err))
	}
	return p.join()
}

// checkAdminListen says what is wrong with the address of the admin listener.
func checkAdminListen(addr string) string {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok || addr == "" {
		if ok && !strings.HasPrefix(path, "/") {
			return "want an absolute path after unix:"
		}
		return ""
	}
	if a, err := netip.ParseAddrPort(addr); err != nil || !a.Addr().IsLoopback() {
		return "want unix: and a path, or a loopback address and a port: anybody could reach it elsewhere"
	}
	return ""
}

// WithDefaults returns c with every zero field that has a default replaced by
// it. Threads stays zero.
func (c Config) WithDefaults() Config {
	ApplyDefaults(&c) // cannot fail: a test checks the tags of Config
	return c
}
