// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/belay-proxy/belay/header"
	"github.com/belay-proxy/belay/internal/app"
	"github.com/belay-proxy/belay/server"
)

// proxyFlags is the command line of belay proxy.
type proxyFlags struct {
	listen      []string
	tls         tlsFlags
	to          []string
	upstream    upstreamFlags
	healthCheck healthCheckFlag
	retries     int
	host        string
	grace       time.Duration
	threads     int
	maxConns    int
	logLevel    string
	accessLog   string
	h2c         bool
	cpuProfile  string // file; "" for none
	options     server.Options
	admin       string
}

func newProxy() *cobra.Command {
	var f proxyFlags
	cmd := &cobra.Command{
		Use:   "proxy --to host:port [--to host:port …]",
		Short: "Balance requests between backends",
		Long: `Balance HTTP requests between backends, in turn and by weight.

Clients speak HTTP/1.1, with --https also HTTP/2, and with --h2c HTTP/2 without
TLS. Certificates are read again when their files change. What a backend speaks
is said by how it is named: host:port, http://host:port and unix:/path are
HTTP/1.1, https://host is HTTP/1.1 over TLS, h2://host is HTTP/2 over TLS, and
h2c://host:port is HTTP/2 without TLS. The certificate of a backend is verified.

Backends that do not accept a TCP connection are left out until they do; all
are tried every second. A request whose backend fails is sent to another one if
that is safe: always if nothing has been sent, and otherwise if the method is
idempotent and nothing has been received.

SIGTERM stops accepting, finishes what is in hand and ends; a second signal cuts
that short. SIGINT (Ctrl-C) ends at once. SIGQUIT hands the listeners over to a
new process that has been started with --upgrade, and then does as SIGTERM;
"belay upgrade" does both. SIGHUP reads the file of --conf and the certificates
again, SIGUSR1 opens the access log again.

A backend given by name is looked up for each connection that is made to it.`,
		Example: `  belay proxy --to 127.0.0.1:3001 --to 127.0.0.1:3002
  belay proxy --listen :80 --to app1:8080=3 --to app2:8080 --host example.com
  belay proxy --listen unix:/run/belay.sock --to unix:/run/app.sock
  belay proxy --https :443 --cert example.com.crt --key example.com.key --to 127.0.0.1:3001
  belay proxy --h2c --to h2c://127.0.0.1:50051 --health-check=grpc`,
		Args: f.noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config(cmd)
			if err != nil {
				return err
			}
			if f.options.Upgrade {
				// It is meant for the running process, when all of this name get it.
				signal.Notify(make(chan os.Signal, 1), syscall.SIGQUIT)
			}
			cfg.Ready = cmd.OutOrStdout()
			p, err := app.NewProxy(cmd.Context(), cfg)
			if err != nil {
				return failed(err)
			}
			return failed(withCPUProfile(f.cpuProfile, func() error { return p.Run(cmd.Context()) }))
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringArrayVar(&f.listen, "listen", nil, "`address` to accept connections on, host:port or unix:/path; may be repeated (default "+app.DefaultListen+", or none with --https)")
	f.tls.add(fs)
	fs.StringArrayVar(&f.to, "to", nil, "`address` of a backend: host:port, unix:/path, http://host:port, https://host[:port], h2c://host:port or h2://host[:port], with \"=3\" after it for a weight of 3; may be repeated")
	f.upstream.add(fs)
	fs.BoolVar(&f.h2c, "h2c", false, "also take HTTP/2 without TLS on --listen, from clients that know of it beforehand")
	fs.StringVar(&f.host, "host", "", "Host `name` of requests to the backends (default the client's)")
	f.healthCheck.add(fs)
	fs.IntVar(&f.retries, "retries", 3, "`attempts` that may follow the first one of a request; 0 means none")
	fs.IntVar(&f.maxConns, "max-connections", 0, "`number` of clients that may be connected to each --listen and --https at the same time; more wait. 0 means no limit")
	fs.DurationVar(&f.grace, "grace-period", 5*time.Minute, "how long the end waits for requests in hand; 0 means not at all")
	fs.IntVar(&f.threads, "threads", 0, "`number` of threads that run at the same time (default one for each processor)")
	fs.StringVar(&f.logLevel, "log-level", "", "`level` error, warn, info, debug or off, also for single packages: \"warn,balancer=info\" (default $BELAY_LOG, or info)")
	fs.StringVar(&f.accessLog, "access-log", "", "write a line for each request to this `file`, or to standard output if it is \"-\" (default none)")
	fs.StringVarP(&f.options.ConfFile, "conf", "c", "", "read the settings of the process from `file` (YAML); flags take precedence")
	fs.BoolVarP(&f.options.Test, "test", "t", false, "check the configuration and exit")
	fs.BoolVarP(&f.options.Daemon, "daemon", "d", false, "run in the background")
	fs.BoolVarP(&f.options.Upgrade, "upgrade", "u", false, "take over the listeners of the running process")
	fs.StringVar(&f.admin, "admin", "", "loopback or unix: `address` on which to answer /healthz and /readyz")
	fs.StringVar(&f.cpuProfile, "cpu-profile", "", "write a CPU profile to this `file` until the end")
	_ = fs.MarkHidden("cpu-profile") // exists; for those who develop belay, as bench/README.md says
	completeFlags(cmd)
	return cmd
}

// completeFlags tells the completion of shells what flags take that is neither
// free nor a file.
func completeFlags(cmd *cobra.Command) {
	for name, values := range map[string][]string{
		"tls-profile":  {"intermediate", "modern"},
		"health-check": {"tcp", "grpc", "false"},
		"log-level":    {"error", "warn", "info", "debug", "off"},
		"listen":       nil,
		"https":        nil,
		"to":           nil,
		"host":         nil,
		"admin":        nil,
	} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // they exist: a test looks
	}
}

// noArgs refuses all arguments. It knows that of a flag whose value may be left
// out, and so has to follow a "=".
func (f *proxyFlags) noArgs(cmd *cobra.Command, args []string) error {
	err := noArgs(cmd, args)
	if err != nil && cmd.Flags().Changed("health-check") {
		if _, parseErr := app.ParseHealthCheck(args[0]); parseErr == nil {
			return fmt.Errorf("%w: did you mean --health-check=%s?", err, args[0])
		}
	}
	return err
}

// config returns what the flags say, or what is wrong with them.
func (f *proxyFlags) config(cmd *cobra.Command) (app.ProxyConfig, error) {
	cfg := app.ProxyConfig{
		Listen:      f.listen,
		HealthCheck: f.healthCheck.value,
		MaxRetries:  orNone(f.retries),
		Host:        f.host,
		H2C:         f.h2c,
		GracePeriod: orNone(f.grace),
		Threads:     f.threads,
		MaxConns:    f.maxConns,
		AccessLog:   f.accessLog,
		Options:     f.options,
		AdminListen: f.admin,
	}
	// What the file says counts if there is no flag.
	if !cmd.Flags().Changed("retries") {
		cfg.MaxRetries = 0
	}
	if !cmd.Flags().Changed("grace-period") {
		cfg.GracePeriod = 0
	}
	errs := []error{f.addBackends(&cfg), f.upstream.config(&cfg), f.tls.config(&cfg)}
	for _, addr := range f.listen {
		errs = append(errs, flagError("listen", app.CheckListen(addr)))
	}
	if f.h2c && len(f.listen) == 0 && len(f.tls.https) > 0 {
		errs = append(errs, errors.New("--h2c: there is no listener without TLS: add one with --listen"))
	}
	if f.host != "" && !header.ValidHost(f.host) {
		errs = append(errs, fmt.Errorf("--host: %q is not a host", f.host))
	}
	if f.retries < 0 || f.retries > 100 {
		errs = append(errs, fmt.Errorf("--retries: is %d, want 0 to 100", f.retries))
	}
	if f.grace < 0 {
		errs = append(errs, fmt.Errorf("--grace-period: is %v, want 0 or more", f.grace))
	}
	if f.maxConns < 0 {
		errs = append(errs, fmt.Errorf("--max-connections: is %d, want 0 or more", f.maxConns))
	}
	if f.threads < 0 || f.threads > 4096 {
		errs = append(errs, fmt.Errorf("--threads: is %d, want 0 to 4096", f.threads))
	}
	if cmd.Flags().Changed("conf") && f.options.ConfFile == "" {
		errs = append(errs, errors.New("--conf: there is no file name"))
	}
	errs = append(errs, flagError("admin", app.CheckAdmin(f.admin)))
	if cmd.Flags().Changed("log-level") {
		errs = append(errs, flagError("log-level", setLogLevel(f.logLevel)))
	}
	return cfg, errors.Join(errs...)
}

// addBackends adds the backends to cfg.
func (f *proxyFlags) addBackends(cfg *app.ProxyConfig) error {
	var errs []error
	if len(f.to) == 0 {
		errs = append(errs, errors.New("there is no backend: name at least one with --to host:port"))
	}
	for _, s := range f.to {
		b, err := app.ParseBackend(s)
		errs = append(errs, flagError("to", err))
		cfg.Backends = append(cfg.Backends, b)
	}
	return errors.Join(errs...)
}

// flagError says which flag err is about.
func flagError(flag string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("--%s: %w", flag, err)
}

// orNone makes a flag for which 0 means none a setting for which negative
// does, and 0 would be the default.
func orNone[T int | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// setLogLevel makes the log what --log-level asks for, by putting it in the
// place of BELAY_LOG. Package server only warns of what is wrong there; for a
// flag it is an error.
func setLogLevel(spec string) error {
	for part := range strings.SplitSeq(spec, ",") {
		_, level, hasPkg := strings.Cut(part, "=")
		if !hasPkg {
			level = part
		}
		switch strings.ToLower(strings.TrimSpace(level)) {
		case "error", "warn", "info", "debug", "trace", "off":
		default:
			return fmt.Errorf("%q is not a level: want error, warn, info, debug or off", strings.TrimSpace(part))
		}
	}
	return os.Setenv("BELAY_LOG", spec)
}
