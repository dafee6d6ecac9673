// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/belay-proxy/belay/config"
	"github.com/belay-proxy/belay/internal/control"
)

// targetFlags say which running process is meant.
type targetFlags struct {
	name    string
	conf    string
	pidFile string
	pid     int
}

// add declares the flags.
func (f *targetFlags) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&f.conf, "conf", "c", "", "the process that runs with the pid_file of this `file`")
	fs.StringVar(&f.pidFile, "pid-file", "", "the process of this pid `file`")
	fs.IntVar(&f.pid, "pid", 0, "the process with this `id`")
	fs.StringVar(&f.name, "name", filepath.Base(os.Args[0]), "the only process of the program with this `name`")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error { return f.check(cmd) }
}

// check reports what is wrong with the flags.
func (f *targetFlags) check(cmd *cobra.Command) error {
	var errs []error
	if cmd.Flags().Changed("pid") && f.pid <= 0 {
		errs = append(errs, fmt.Errorf("--pid: is %d, want the id of a process", f.pid))
	}
	if f.name == "" || f.name != filepath.Base(f.name) {
		errs = append(errs, fmt.Errorf("--name: is %q, want the name of a program, without a path", f.name))
	}
	return errors.Join(errs...)
}

// find returns the process that is meant, with its status.
func (f *targetFlags) find(ctx context.Context) (*control.Client, control.Status, error) {
	t := control.Target{Program: f.name, PIDFile: f.pidFile, PID: f.pid}
	if f.conf != "" && t.PIDFile == "" {
		// The sections of the program that it belongs to are not known here;
		// so only what can be wrong with the file as such is reported.
		file, err := config.PIDFile(f.conf)
		if err != nil {
			return nil, control.Status{}, err
		}
		t.PIDFile = file
	}
	if t.PIDFile != "" && t.PID != 0 {
		return nil, control.Status{}, errors.New("a process id and a pid file were given, want one of them")
	}
	return control.Find(ctx, t)
}

func newStatus() *cobra.Command {
	var f targetFlags
	var asJSON, ready bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how a running belay is",
		Long: `Say how a running belay is: what it listens on, what it has in hand, and how
far it has come with ending.

The exit code is 0 if it runs, 3 if it does not, and 1 if it cannot be asked; with
--ready it is 1, too, if it does not take new connections.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, st, err := f.find(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(st)
			} else {
				_, err = fmt.Fprint(cmd.OutOrStdout(), st.Text())
			}
			if err == nil && ready && (st.Phase != "running" && st.Phase != "upgrading" || st.Error != "") {
				err = fmt.Errorf("not ready: %s %s", st.Phase, st.Error)
			}
			return failed(err)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it in JSON")
	cmd.Flags().BoolVar(&ready, "ready", false, "fail unless it takes new connections")
	return cmd
}

func newStop() *cobra.Command {
	var f targetFlags
	var now bool
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "End a running belay and wait until it has ended",
		Long: `End a running belay and wait until it has ended. It stops accepting at once and
finishes what it has in hand, for as long as its grace period allows.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, st, err := f.find(cmd.Context())
			if noSocket, ok := errors.AsType[*control.NoSocketError](err); ok {
				if err := stopBySignal(cmd.Context(), noSocket, now); err != nil {
					return failed(err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d has ended\n", noSocket.PID)
				return failed(err)
			} else if err != nil {
				return failed(err)
			}
			last := ""
			err = c.Stop(cmd.Context(), st.PID, now, func(d control.Drain) {
				if text := d.String(); text != last {
					fmt.Fprintln(cmd.ErrOrStderr(), text)
					last = text
				}
			})
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d has ended\n", st.PID)
			}
			return failed(err)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&now, "now", false, "do not wait for requests in hand")
	return cmd
}

// stopBySignal ends a process that has no control socket.
func stopBySignal(ctx context.Context, process *control.NoSocketError, now bool) error {
	sig := syscall.SIGTERM
	if now {
		sig = syscall.SIGINT
	}
	if err := process.Signal(sig); err != nil {
		return err
	}
	return control.WaitGone(ctx, process.PID)
}

func newReload() *cobra.Command {
	var f targetFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make a running belay read its configuration file again",
		Long: `Make a running belay read its configuration file again. What can change while it
runs is applied; the rest is named: it needs "belay upgrade". If anything is wrong
with the file, nothing changes.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := f.find(cmd.Context())
			if err != nil {
				return failed(err)
			}
			r, err := c.Reload(cmd.Context())
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), r)
			}
			return failed(err)
		},
	}
	f.add(cmd)
	return cmd
}
