// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Package server runs services in a process: it reads the command line and the
// configuration, binds listeners, starts what serves them and what works in
// the background, and ends it all in good order.
//
//	func main() {
//		var backends []string
//		opts := server.ParseOrExit(func(fs *flag.FlagSet) {
//			fs.Func("backend", "`host:port` to send requests to; may be repeated", func(s string) error {
//				backends = append(backends, s)
//				return nil
//			})
//		})
//		srv, err := server.New(server.Config{Options: opts})
//		if err != nil {
//			log.Fatal(err)
//		}
//		check := srv.Background("health check", checker)
//		lb := srv.Listen("load balancer", handler, listener.Config{Addr: "0.0.0.0:80"})
//		lb.DependsOn(check)
//		srv.RunForever()
//	}
//
// # Start
//
// All listeners are bound first; if one cannot be, nothing starts. Then the
// services start, each as soon as those that it depends on are ready. Clients
// that connect before the service accepts wait in the backlog.
//
// # Signals and shutdown
//
//	SIGTERM  graceful: stop accepting at once, let handlers finish what is in
//	         hand for at most grace_period_seconds, then end the background
//	         services
//	SIGQUIT  upgrade: hand the listeners over to a new process that was started
//	         with -u, then as SIGTERM; if there is none, go on
//	SIGINT   fast: close all connections, end the background services
//	SIGHUP   reload the configuration file and the certificates; see Server.OnReload
//	SIGUSR1  open error_log again, in a daemon, and what Server.OnReopen has
//
// A graceful shutdown ends as soon as the last connection is gone. A second
// SIGTERM or SIGINT makes it a fast one, and a third ends the process without
// waiting for background services.
//
// # The process
//
// With -d the program continues in the background: the command returns when the
// daemon accepts connections, or with the daemon's error. A daemon has a pid
// file, which it keeps locked, and error_log for its output. The settings user
// and group take effect, in the foreground too, once the listeners are bound.
//
// If $NOTIFY_SOCKET is set, the service manager is told what happens, and shown
// signs of life if it wants them. Sockets that it passes ($LISTEN_FDS) go to the
// listeners with their address or name.
//
// A process that catches its own signals (Config.Signals is nil) has a control
// socket in the private directory of its program, for the commands belay status,
// stop, reload and upgrade. With admin_listen, it answers /healthz and /readyz.
//
// # Exit codes
//
//	0  ended by a signal, however many connections were cut off; or -t found
//	   no problem; or -h or -V
//	1  could not start, -t found a problem, or something went on running after
//	   it should have ended
//	2  the command line is wrong
//
// # Logging
//
// The log goes to standard error. The environment variable BELAY_LOG says what
// goes into it: a level (error, warn, info, debug, or off), or a list such as
// "warn,upstream=debug" with levels for single packages. The default is info.
package server
