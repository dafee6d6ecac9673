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
//	SIGQUIT  the same
//	SIGINT   fast: close all connections, end the background services
//	SIGHUP   no effect
//
// A graceful shutdown ends as soon as the last connection is gone. A second
// signal, of any of the first three, makes it a fast one, and a third ends the
// process without waiting for background services.
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
