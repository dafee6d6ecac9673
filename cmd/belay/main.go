// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

// Command belay is a load balancer.
//
//	belay demo                                   see it work, with origins of its own
//	belay proxy --to host:port --to host:port    balance between backends
//	belay status | stop | reload | upgrade       ask and tell a running one
//	belay version
//
// Each has a --help. The exit code is 0 after an end by signal, 1 if something
// failed, 2 if the command line is wrong, and 3 if a running belay was to be asked
// and there is none.
//
// # Memory
//
// The heap of a proxy is small and short-lived, so belay lets it grow to five
// times what is in use before it is collected (GOGC=400) where Go would say
// twice: less CPU for some megabytes. When there is nothing to do for some
// seconds, what is spare goes back to the system. The environment variables GOGC
// and GOMEMLIMIT take precedence: if one of them is set, belay changes nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/belay-proxy/belay/internal/app"
	"github.com/belay-proxy/belay/internal/control"
	"github.com/belay-proxy/belay/server"
)

// Exit codes.
const (
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
)

// gcPercent is the GOGC of a belay that is not told otherwise.
const gcPercent = 400

func main() {
	if tuneGC() {
		go app.TrimMemory(context.Background()) // until the process ends
	}
	os.Exit(run(context.Background(), os.Args[1:]))
}

// tuneGC sets GOGC unless the environment says how memory is to be used. It
// reports whether it has.
func tuneGC() bool {
	_, percent := os.LookupEnv("GOGC")
	_, limit := os.LookupEnv("GOMEMLIMIT")
	if percent || limit {
		return false
	}
	debug.SetGCPercent(gcPercent)
	return true
}

// run runs the command line args and returns the exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, server.ErrReported) {
		return exitFailed
	}
	fmt.Fprintf(os.Stderr, "belay: %s\n", strings.ReplaceAll(err.Error(), "\n", "\nbelay: "))
	if errors.Is(err, control.ErrNotRunning) {
		return exitNotRunning
	}
	if _, ok := errors.AsType[failure](err); ok {
		return exitFailed
	}
	fmt.Fprintf(os.Stderr, "Try %s --help.\n", called.CommandPath())
	return exitUsage
}

// A failure is an error of what a command did. All others are about the
// command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// failed marks an error as a failure, unless it is nil.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "belay",
		Short: "A load balancer and a framework for programmable proxies",
		Long: `belay is a load balancer for HTTP/1.1 and HTTP/2, built on the framework of the same name.

Start with "belay demo": it brings its own origins and shows what happens when
one of them fails. "belay proxy" balances between backends of yours.`,
		Example: `  belay demo
  belay proxy --to 127.0.0.1:3001 --to 127.0.0.1:3002`,
		Args:          noArgs,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpCommand(newHelp())
	root.AddCommand(newDemo(), newProxy(), newStatus(), newStop(), newReload(), newUpgrade(), newVersion())
	return root
}

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("there is no command %q", strings.Join(args, " "))
			}
			about.InitDefaultHelpFlag() // else it is left out
			return failed(about.Help())
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version())
			return failed(err)
		},
	}
}

// noArgs refuses what is neither a command nor a flag.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return fmt.Errorf("there is no command %q", args[0])
	}
	return fmt.Errorf("unexpected argument %q", args[0])
}

// version returns, for example, "belay v0.1.0 go1.26.0 linux/amd64".
func version() string {
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("belay %s %s %s/%s", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
