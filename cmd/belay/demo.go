// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/belay-proxy/belay/internal/app"
)

func newDemo() *cobra.Command {
	var (
		addr     string
		duration time.Duration
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the load balancer at work, with origins of its own",
		Long: `Start three origins and the load balancer in front of them, all in this process
and on 127.0.0.1 only, and show what happens. The load balancer also listens
with TLS, on port 8443 or the next free one, with a certificate that it makes.

After 5 seconds the second origin is killed, and after 10 seconds it is back.
On a terminal the keys 1, 2 and 3 do the same to each origin whenever you like,
and q ends the demo.

The exit code is 1 if a request was lost.`,
		Example: `  belay demo
  belay demo --http 127.0.0.1:9000 --duration 15s`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkHTTP(addr); err != nil {
				return flagError("http", err)
			}
			if duration < 0 {
				return fmt.Errorf("--duration: is %v, want 0 or more", duration)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			cfg := app.DemoConfig{Addr: addr, Duration: duration, Out: cmd.OutOrStdout(), Live: isTerminal(os.Stdout)}
			if restore, ok := readByKey(os.Stdin); ok {
				defer restore()
				cfg.Keys = keys(os.Stdin)
			}
			return failed(app.Demo(ctx, cfg))
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&addr, "http", "", "`host:port` of the load balancer (default 127.0.0.1:8080 or the next free port)")
	cmd.Flags().DurationVar(&duration, "duration", 0, "how long to run; 0 means until q or a signal")
	return cmd
}

// checkHTTP reports what is wrong with the address of the demo. It must be one
// for curl and the demo's own client.
func checkHTTP(addr string) error {
	switch {
	case addr == "":
		return nil
	case strings.HasPrefix(addr, "unix:"):
		return fmt.Errorf("address %q: want host:port", addr)
	}
	return app.CheckListen(addr)
}

// keys returns what is typed. Its goroutine ends with the process: a read of
// standard input cannot be cancelled.
func keys(in *os.File) <-chan byte {
	typed := make(chan byte)
	go func() {
		for r := bufio.NewReader(in); ; {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			typed <- b
		}
	}()
	return typed
}
